# LSSTCam: pixels of 10 um, about 1.6 electrons per adu.
# What the images say themselves comes first.
config.reading.gain = 1.6
config.reading.pixelSize = 0.010
config.finders["morphological"].nCrPixelMax = 100000
