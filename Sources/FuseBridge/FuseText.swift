/// Whether bytes are UTF-8, as RedoxFS wants names to be. Nearly all names are ASCII: eight bytes at a time.
///
/// Well-formed byte sequences: Unicode 15, table 3-7.
func isUTF8(_ bytes: RawSpan) -> Bool {
    var index = 0
    let count = bytes.byteCount
    while index < count {
        if count &- index >= 8 {
            let word = unsafe bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: index, as: UInt64.self)
            if word & 0x8080_8080_8080_8080 == 0 {
                index &+= 8
                continue
            }
        }
        let first = byte(bytes, index)
        if first < 0x80 {
            index &+= 1
            continue
        }
        let second = byte(bytes, index &+ 1)
        let length: Int
        let isSecondValid: Bool
        switch first {
        case 0xC2...0xDF: (length, isSecondValid) = (2, true)
        case 0xE0: (length, isSecondValid) = (3, second >= 0xA0)
        case 0xED: (length, isSecondValid) = (3, second <= 0x9F)
        case 0xE1...0xEF: (length, isSecondValid) = (3, true)
        case 0xF0: (length, isSecondValid) = (4, second >= 0x90)
        case 0xF4: (length, isSecondValid) = (4, second <= 0x8F)
        case 0xF1...0xF3: (length, isSecondValid) = (4, true)
        default: return false
        }
        guard isSecondValid else { return false }
        for offset in 1..<length where byte(bytes, index &+ offset) & 0xC0 != 0x80 { return false }
        index &+= length
    }
    return true
}

/// One byte; 0, which continues no sequence, behind the end.
private func byte(_ bytes: RawSpan, _ index: Int) -> UInt8 {
    guard index < bytes.byteCount else { return 0 }
    return unsafe bytes.unsafeLoad(fromUncheckedByteOffset: index, as: UInt8.self)
}
