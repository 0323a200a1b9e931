// BlockCodec
