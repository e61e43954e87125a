# cmake -DIN=style.css -DOUT=style.c -DNAME=style -DSYMBOL=style_css -P embed.cmake: the file as a C
# array, declared in ca-web/NAME.h.
file(READ ${IN} bytes HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE ${OUT} "#include \"ca-web/${NAME}.h\"\nconst unsigned char ${SYMBOL}[] = {${bytes}};\n"
    "const size_t ${SYMBOL}_len = sizeof ${SYMBOL};\n")
