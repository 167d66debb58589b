# LSST ComCam: pixels of 10 um, about 1.1 electrons per adu.
# What the images say themselves comes first.
config.reading.gain = 1.1
config.reading.pixelSize = 0.010
config.finders["morphological"].nCrPixelMax = 100000
