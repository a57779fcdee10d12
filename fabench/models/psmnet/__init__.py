"""PSMNet, the pyramid stereo matching network (Chang and Chen, CVPR 2018, arXiv 1803.08669), in its basic and stacked hourglass forms.

    images -> extractor (shared by both views) -> cost volume -> 3D convolutions -> scores of the disparities -> their mean

`fabench.models.stereo` builds it, with attention where asked. Modules carry the names of the weights that its authors published, so that
these load.
"""
