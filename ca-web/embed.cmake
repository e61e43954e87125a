# cmake -DIN=style.css -DOUT=style.c -P embed.cmake: the file as a C array `style_css`.
file(READ ${IN} bytes HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE ${OUT} "#include \"ca-web/style.h\"\nconst unsigned char style_css[] = {${bytes}};\n"
    "const size_t style_css_len = sizeof style_css;\n")
