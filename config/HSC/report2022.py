# The limit at which the default finder gave up on 6 of 103 difference images
# of the report of 2022, all of them crossed by satellites.
config.finders["morphological"].nCrPixelMax = 10000
