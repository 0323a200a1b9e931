/// The rules for names: 1 to 252 bytes of UTF-8 without NUL and slash.
public enum FileName {
    /// Why bytes are not a name.
    public enum Fault: Error, Hashable, Sendable {
        /// No byte at all.
        case empty
        /// More than 252 bytes.
        case tooLong
        /// A slash or a NUL.
        case forbiddenByte
        /// Not UTF-8.
        case notUnicode
        /// "." or "..", which stand for directories everywhere.
        case dots
    }

    /// Why a directory cannot have an entry of this name, or nil if it can.
    @inlinable
    public static func fault(_ name: RawSpan) -> Fault? {
        let count = name.byteCount
        guard count > 0 else { return .empty }
        guard count <= Limits.maximumNameLength else { return .tooLong }
        var high: UInt8 = 0
        for index in 0..<count {
            let byte = name.u8(at: index)
            if byte == 0 || byte == 0x2F { return .forbiddenByte }
            high |= byte
        }
        if high & 0x80 != 0, !isUnicode(name) { return .notUnicode }
        if count <= 2, name.u8(at: 0) == 0x2E, name.u8(at: count &- 1) == 0x2E { return .dots }
        return nil
    }

    /// Whether the bytes are well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
    public static func isUnicode(_ bytes: RawSpan) -> Bool {
        let count = bytes.byteCount
        var index = 0
        while index < count {
            let lead = bytes.u8(at: index)
            // Number of continuation bytes, and what the first of them may be.
            var rest = 1
            var low: UInt8 = 0x80
            var high: UInt8 = 0xBF
            switch lead {
            case 0x00...0x7F:
                index &+= 1
                continue
            case 0xC2...0xDF: break
            case 0xE0...0xEF:
                rest = 2
                if lead == 0xE0 { low = 0xA0 }
                if lead == 0xED { high = 0x9F }
            case 0xF0...0xF4:
                rest = 3
                if lead == 0xF0 { low = 0x90 }
                if lead == 0xF4 { high = 0x8F }
            default: return false
            }
            guard count &- index > rest else { return false }
            let second = bytes.u8(at: index &+ 1)
            guard second >= low, second <= high else { return false }
            for next in 2..<max(rest &+ 1, 2) where bytes.u8(at: index &+ next) & 0xC0 != 0x80 { return false }
            index &+= rest &+ 1
        }
        return true
    }
}

/// The hash of a name, by which directories find it: the low 32 bits of SeaHash, but never 0xFFFFFFFF.
public enum NameHash {
    /// The hash of unused entries; no name has it.
    public static let unused: UInt32 = 0xFFFF_FFFF
    /// The largest hash of a name, and the one that entries start with.
    public static let maximum: UInt32 = 0xFFFF_FFFE

    /// The hash of a name.
    @inlinable
    public static func of(_ name: RawSpan) -> UInt32 { min(UInt32(truncatingIfNeeded: SeaHash.hash(name)), maximum) }
}
