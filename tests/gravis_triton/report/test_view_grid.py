import numpy as np
import torch
from PIL import Image

from gravis_triton.data.loading.loader import collate_images
from gravis_triton.report import save_views
from gravis_triton.settings import ViewSettings
from gravis_triton.views import ViewMaker


def test_the_picture_has_a_row_a_source_with_the_undistorted_image_first(tmp_path):
    red = np.zeros((20, 40, 3), np.uint8)
    red[..., 0] = 255
    views = ViewMaker(ViewSettings(views=2, cutout_holes=0), size=32, mean=(0.5,) * 3, std=(0.5,) * 3)
    torch.manual_seed(0)
    save_views(tmp_path / "views.png", collate_images([red, red, red]), views, rows=2)
    picture = np.asarray(Image.open(tmp_path / "views.png"))
    assert picture.shape == (2 * 130 + 2, 3 * 130 + 2, 3)  # views of 32 pixels are enlarged to 128
    first = picture[2:130, 2:130]
    assert (first[33:95] == [255, 0, 0]).all()  # 20 x 40 becomes 64 x 128, in the middle
    assert (first[:31] == 255).all()
    assert (first[97:] == 255).all()
    view = picture[2:130, 132:260]
    assert (view == view[::4, ::4].repeat(4, 0).repeat(4, 1)).all()
