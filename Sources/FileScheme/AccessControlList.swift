/// A POSIX access control list, as the kernel hands it over in `system.posix_acl_access` and `system.posix_acl_default`.
///
///      0  version u32 = 2
///      then entries of 8 bytes: tag u16, permissions u16, id u32
///
/// Semantics: acl(5), and IEEE 1003.1e draft 17 for what a mode makes of a list.
struct AccessControlList: Equatable {
    /// Who an entry is about.
    enum Tag: UInt16 {
        case owner = 0x01
        case user = 0x02
        case owningGroup = 0x04
        case group = 0x08
        case mask = 0x10
        case others = 0x20
    }

    struct Entry: Equatable {
        var tag: Tag
        /// Read 4, write 2, execute 1.
        var permissions: UInt16
        /// The user or group, all ones where the tag needs none.
        var id: UInt32
    }

    /// The attribute that holds the list that access is checked with.
    static let accessName = Array("system.posix_acl_access".utf8)
    /// The attribute that holds the list that a directory's new entries get.
    static let defaultName = Array("system.posix_acl_default".utf8)

    private static let version: UInt32 = 2

    var entries: [Entry]

    /// Decodes an attribute's value; nil if it breaks a rule of acl_valid(3).
    init?(decoding bytes: [UInt8]) {
        func word(_ offset: Int, _ count: Int) -> UInt32 {
            var result: UInt32 = 0
            for index in 0..<count { result |= UInt32(bytes[offset + index]) << UInt32(8 * index) }
            return result
        }
        guard bytes.count >= 4, (bytes.count - 4).isMultiple(of: 8), word(0, 4) == Self.version else { return nil }
        entries = []
        for offset in stride(from: 4, to: bytes.count, by: 8) {
            guard let tag = Tag(rawValue: UInt16(word(offset, 2))) else { return nil }
            let permissions = UInt16(word(offset + 2, 2))
            guard permissions <= 7 else { return nil }
            entries.append(Entry(tag: tag, permissions: permissions, id: word(offset + 4, 4)))
        }
        guard isValid else { return nil }
    }

    /// Exactly one entry for owner, owning group and others; a mask if anybody is named.
    private var isValid: Bool {
        func count(_ tag: Tag) -> Int { entries.count { $0.tag == tag } }
        let named = count(.user) + count(.group)
        return count(.owner) == 1 && count(.owningGroup) == 1 && count(.others) == 1 && count(.mask) <= 1
            && (named == 0 || count(.mask) == 1)
    }

    /// The attribute's value.
    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        func put(_ value: UInt32, _ count: Int) {
            for index in 0..<count { bytes.append(UInt8(truncatingIfNeeded: value >> UInt32(8 * index))) }
        }
        put(Self.version, 4)
        for entry in entries {
            put(UInt32(entry.tag.rawValue), 2)
            put(UInt32(entry.permissions), 2)
            put(entry.id, 4)
        }
        return bytes
    }

    /// The list says no more than permission bits do.
    var isMinimal: Bool {
        entries.allSatisfy { $0.tag == .owner || $0.tag == .owningGroup || $0.tag == .others }
    }

    /// The permission bits that stand for this list: the mask, if there is one, is the group's.
    var mode: UInt16 {
        var result: UInt16 = 0
        var mask: UInt16?
        for entry in entries {
            switch entry.tag {
            case .owner: result |= entry.permissions << 6
            case .owningGroup: result |= entry.permissions << 3
            case .others: result |= entry.permissions
            case .mask: mask = entry.permissions
            case .user, .group: break
            }
        }
        if let mask { result = result & ~0o070 | mask << 3 }
        return result
    }

    private var groupClass: Tag { entries.contains { $0.tag == .mask } ? .mask : .owningGroup }

    /// What chmod(2) makes of the list.
    mutating func change(toMode mode: UInt16) {
        let group = groupClass
        for index in entries.indices {
            switch entries[index].tag {
            case .owner: entries[index].permissions = mode >> 6 & 7
            case group: entries[index].permissions = mode >> 3 & 7
            case .others: entries[index].permissions = mode & 7
            default: break
            }
        }
    }

    /// What a new node gets from its directory's default list and the mode that its maker asked for.
    func inherited(mode: UInt16) -> (list: AccessControlList, mode: UInt16) {
        var list = self
        var mode = mode
        let group = groupClass
        for index in list.entries.indices {
            let shift: UInt16
            switch list.entries[index].tag {
            case .owner: shift = 6
            case group: shift = 3
            case .others: shift = 0
            default: continue
            }
            let permissions = list.entries[index].permissions & (mode >> shift & 7)
            list.entries[index].permissions = permissions
            mode = mode & ~(7 << shift) | permissions << shift
        }
        return (list, mode)
    }
}
