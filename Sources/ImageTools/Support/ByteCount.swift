/// Sizes as people write them.
public enum ByteCount {
    private static let units: [(Character, UInt64)] = [
        ("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40), ("P", 1 << 50),
    ]

    /// A number of bytes with an optional unit of 1024: "512M", "4GiB", "1048576". Nil for anything else.
    public static func parse(_ text: String) -> UInt64? {
        var text = text[...]
        for suffix in ["iB", "B"] where text.hasSuffix(suffix) && !text.isEmpty {
            text = text.dropLast(suffix.count)
            break
        }
        var factor: UInt64 = 1
        if let unit = units.first(where: { text.last?.uppercased() == String($0.0) }) {
            factor = unit.1
            text = text.dropLast()
        }
        guard text.allSatisfy({ ("0"..."9").contains($0) }), let number = UInt64(text) else { return nil }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: factor)
        return overflow ? nil : bytes
    }

    /// The size with a unit, at most one digit after the point.
    public static func display(_ byteCount: UInt64) -> String {
        guard let unit = units.last(where: { byteCount >= $0.1 }) else { return "\(byteCount) bytes" }
        let tenths = byteCount / (unit.1 / 10 + (unit.1 % 10 == 0 ? 0 : 1))
        let whole = byteCount / unit.1
        let fraction = (byteCount % unit.1) * 10 / unit.1
        return tenths >= 100 || fraction == 0 ? "\(whole) \(unit.0)iB" : "\(whole).\(fraction) \(unit.0)iB"
    }
}
