extension String {
    /// Text that comes from outside, for a person: what isn't printable UTF-8 is escaped, so that it can neither move the cursor of a
    /// terminal nor do more.
    public init(printable bytes: some Collection<UInt8>) {
        self = ""
        for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
            switch scalar.value {
            // Controls; some terminals take those from 0x80 on for an escape with the next letter.
            case 0..<0x20, 0x7F..<0xA0, 0xFFFD: self += "\\u{\(String(scalar.value, radix: 16))}"
            default: unicodeScalars.append(scalar)
            }
        }
    }
}
