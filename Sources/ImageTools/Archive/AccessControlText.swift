import Glibc

/// An access control list as archives write it ("user::rw-,user:1000:r--,group::r--,mask::rw-,other::r--"), turned into
/// the value of the extended attribute that the kernel keeps it in, and back.
///
///     version 2 u32, then entries sorted by tag and id: tag u16, permissions u16, id u32
enum AccessControlText {
    /// The name of the attribute for the key of a pax record, nil if it isn't one of a list.
    static func attributeName(_ key: String) -> String? {
        switch key {
        case "SCHILY.acl.access": "system.posix_acl_access"
        case "SCHILY.acl.default": "system.posix_acl_default"
        default: nil
        }
    }

    /// The key of a pax record for the attribute that keeps a list, nil for others.
    static func key(_ attributeName: [UInt8]) -> String? {
        ["SCHILY.acl.access", "SCHILY.acl.default"].first {
            self.attributeName($0).map { Array($0.utf8) } == attributeName
        }
    }

    /// The text of an attribute's value, users and groups by number; nil if the value is no list.
    static func text(_ value: [UInt8]) -> String? {
        guard value.count > 4, value.count % 8 == 4, value[..<4] == [2, 0, 0, 0] else { return nil }
        var parts: [String] = []
        for start in stride(from: 4, to: value.count, by: 8) {
            func number(_ range: Range<Int>) -> UInt32 {
                value[(start + range.lowerBound)..<(start + range.upperBound)].reversed().reduce(0) {
                    $0 << 8 | UInt32($1)
                }
            }
            let permissions = number(2..<4)
            let who: String
            switch number(0..<2) {
            case 1: who = "user:"
            case 2: who = "user:\(number(4..<8))"
            case 4: who = "group:"
            case 8: who = "group:\(number(4..<8))"
            case 0x10: who = "mask:"
            case 0x20: who = "other:"
            default: return nil
            }
            let letters = [(UInt32(4), "r"), (2, "w"), (1, "x")].map { permissions & $0.0 != 0 ? $0.1 : "-" }
            parts.append("\(who):\(letters.joined())")
        }
        return parts.joined(separator: ",")
    }

    private struct Entry {
        let tag: UInt16
        let permissions: UInt16
        let id: UInt32
    }

    /// The attribute's value, nil if the text is no list or names someone whom this system doesn't know.
    static func attributeValue(_ text: String) -> [UInt8]? {
        var entries: [Entry] = []
        for line in text.split(whereSeparator: { $0 == "," || $0.isNewline }) {
            let part = line.prefix { $0 != "#" }.filter { !$0.isWhitespace }
            if part.isEmpty { continue }
            guard let entry = entry(part) else { return nil }
            entries.append(entry)
        }
        // Owner, group and others are always there; without them it is no list.
        guard [1, 4, 0x20].allSatisfy({ tag in entries.count { $0.tag == tag } == 1 }) else { return nil }
        var bytes: [UInt8] = [2, 0, 0, 0]
        for entry in entries.sorted(by: { ($0.tag, $0.id) < ($1.tag, $1.id) }) {
            for (value, count) in [(UInt32(entry.tag), 2), (UInt32(entry.permissions), 2), (entry.id, 4)] {
                for byte in 0..<count { bytes.append(UInt8(truncatingIfNeeded: value >> UInt32(byte * 8))) }
            }
        }
        return bytes
    }

    /// "user:name:rwx", with the number behind it in the archives of star.
    private static func entry(_ text: String) -> Entry? {
        let fields = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard fields.count >= 3, let permissions = permissions(fields[2]) else { return nil }
        let isNamed = !fields[1].isEmpty
        let tag: UInt16
        var id = UInt32.max
        switch fields[0] {
        case "user", "u": tag = isNamed ? 2 : 1
        case "group", "g": tag = isNamed ? 8 : 4
        case "mask", "m": tag = 0x10
        case "other", "o": tag = 0x20
        default: return nil
        }
        if isNamed {
            guard tag == 2 || tag == 8 else { return nil }
            let number = fields.count > 3 ? UInt32(fields[3]) : nil
            guard let found = number ?? UInt32(fields[1]) ?? numberOf(fields[1], isUser: tag == 2) else { return nil }
            id = found
        }
        return Entry(tag: tag, permissions: permissions, id: id)
    }

    private static func permissions(_ text: String) -> UInt16? {
        var result: UInt16 = 0
        for letter in text {
            switch letter {
            case "r": result |= 4
            case "w": result |= 2
            case "x": result |= 1
            case "-": continue
            default: return nil
            }
        }
        return result
    }

    private static func numberOf(_ name: String, isUser: Bool) -> UInt32? {
        if isUser {
            guard let entry = unsafe getpwnam(name) else { return nil }
            return unsafe entry.pointee.pw_uid
        }
        guard let entry = unsafe getgrnam(name) else { return nil }
        return unsafe entry.pointee.gr_gid
    }
}
