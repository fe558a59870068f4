# The article's listing; only its import is changed. Run it in this folder.
from hanse.core import publish_model

publish_model('图像识别模型', '用于图像识别的AI模型', 'image_recognition_model.h5', 100)
