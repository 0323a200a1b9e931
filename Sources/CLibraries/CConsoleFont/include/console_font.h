// Glyphs of 8x16 pixels. In each row the highest bit is the leftmost pixel.
#pragma once

#define CONSOLE_FONT_ROWS 16
#define CONSOLE_FONT_GLYPHS 512
#define CONSOLE_FONT_CHARACTERS 607

// The character (in Unicode) at a place below CONSOLE_FONT_CHARACTERS; they are in their order.
unsigned console_font_character(unsigned place);

// The number of the glyph of the character at a place.
unsigned console_font_glyph(unsigned place);

// A row (from the upper one) of a glyph.
unsigned char console_font_row(unsigned glyph, unsigned row);
