"""The parts that JPEG, PNG and TIFF files are made of: one walker for each format.

A walker goes from part to part by the lengths that the file itself states. It decodes nothing, and
leaves it to its users what is damage: to decoders, which are lenient, or to the JPEG transcoder,
which is strict. Reading order: ``jpeg`` (marker segments), ``png`` (chunks), ``tiff`` (tags, of
EXIF, too), and ``checked``, with which all headers are read.
"""
