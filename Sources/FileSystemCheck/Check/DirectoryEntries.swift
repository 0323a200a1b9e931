import DiskFormat

/// One entry of a directory list as it is stored, whatever its name says.
struct StoredEntry: Sendable, Equatable {
    let node: UInt32
    let name: [UInt8]

    /// The hash under which the name is filed.
    var hash: UInt32 { NameHash.of(name.rawBytes) }
}

/// The entries of a directory list, as far as they can be made out.
struct StoredEntries {
    static let capacity = 4092
    /// Bytes of an entry before its name.
    static let prefixLength = 5

    /// Entries that the list says it has.
    let count: Int
    /// Bytes that the list says are in use.
    let byteCount: Int
    /// What is wrong with the list, nil if its entries fill just what is in use.
    let problem: String?
    /// Whether there are entries, or bytes in use, that could not be made out.
    let isIncomplete: Bool

    /// Calls `body` with the position, node and name of each entry that can be made out (format: Directory).
    init(_ block: RawSpan, _ body: (Int, UInt32, RawSpan) -> Void) {
        count = Int(block.u16(at: 4092))
        byteCount = Int(block.u16(at: 4094))
        let end = min(byteCount, Self.capacity)
        var problem: String?
        var position = 0
        var index = 0
        while index < count, problem == nil {
            guard position + Self.prefixLength <= end else {
                problem = "it has \(count) entries, \(index) of them in the \(byteCount) bytes in use"
                break
            }
            let length = Int(block.u8(at: position + 4))
            let next = position + Self.prefixLength + length
            guard next <= end else {
                problem = "entry \(index) ends behind the \(byteCount) bytes in use"
                break
            }
            body(position, block.u32(at: position), block.extracting(position + Self.prefixLength..<next))
            position = next
            index += 1
        }
        if byteCount > Self.capacity {
            problem = "\(byteCount) bytes are in use of \(Self.capacity)"
        } else if problem == nil, position != byteCount {
            problem = "its \(count) entries take \(position) bytes, \(byteCount) are said to be in use"
        }
        self.problem = problem
        isIncomplete = index < count || byteCount <= Self.capacity && position < byteCount
    }
}

/// What is wrong with a name; nil if nothing is.
func problem(ofName name: RawSpan) -> String? {
    if name.byteCount == 0 { return "it is empty" }
    if name.byteCount > Limits.maximumNameLength { return "it has \(name.byteCount) bytes" }
    for index in 0..<name.byteCount {
        switch name.u8(at: index) {
        case 0: return "it contains NUL"
        case UInt8(ascii: "/"): return "it contains '/'"
        default: continue
        }
    }
    if name.u8(at: 0) == UInt8(ascii: "."),
        name.byteCount == 1 || name.byteCount == 2 && name.u8(at: 1) == UInt8(ascii: ".")
    {
        return "it is reserved"
    }
    return FileName.isUnicode(name) ? nil : "it is not UTF-8"
}
