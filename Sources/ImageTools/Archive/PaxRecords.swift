import DiskFormat

/// The records of a pax extended header (POSIX.1-2001): "LENGTH KEY=VALUE\n", the length counting itself.
struct PaxRecords {
    /// Keys and values in order; a key may occur more than once.
    var records: [(key: String, value: [UInt8])] = []

    /// No records.
    init() {}

    /// The records in the body of a header; nil if it is malformed.
    init?(decoding body: [UInt8]) {
        var start = 0
        while start < body.count {
            guard let space = body[start...].firstIndex(of: 0x20),
                let length = Int(String(decoding: body[start..<space], as: UTF8.self)),
                length > space - start + 2, length <= body.count - start
            else { return nil }
            let end = start + length
            guard body[end - 1] == 0x0A, let equals = body[space..<end].firstIndex(of: 0x3D) else { return nil }
            records.append(
                (String(decoding: body[(space + 1)..<equals], as: UTF8.self), Array(body[(equals + 1)..<(end - 1)])))
            start = end
        }
    }

    /// The last value of a key.
    subscript(_ key: String) -> [UInt8]? {
        records.last { $0.key == key }?.value
    }

    mutating func append(_ key: String, _ value: [UInt8]) {
        records.append((key, value))
    }

    mutating func append(_ key: String, _ value: String) {
        records.append((key, Array(value.utf8)))
    }

    /// The body of a header.
    func encode() -> [UInt8] {
        var body: [UInt8] = []
        for (key, value) in records {
            // The length counts its own digits.
            let rest = key.utf8.count + value.count + 3
            var length = rest + String(rest).utf8.count
            length = rest + String(length).utf8.count
            body += Array("\(length) \(key)=".utf8) + value + [0x0A]
        }
        return body
    }
}

/// Times in pax headers: seconds with a fraction, in decimal, negative before 1970.
enum PaxTime {
    static func decode(_ text: [UInt8]) -> Timespec? {
        var digits = ArraySlice(text)
        let isNegative = digits.first == 0x2D
        if isNegative { digits = digits.dropFirst() }
        let parts = digits.split(separator: 0x2E, maxSplits: 1, omittingEmptySubsequences: false)
        guard let whole = parts.first, !whole.isEmpty,
            let seconds = Int64(String(decoding: whole, as: UTF8.self)), seconds >= 0
        else { return nil }
        var nanoseconds: UInt32 = 0
        if parts.count == 2 {
            guard parts[1].allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
            for index in 0..<9 {
                let digit = index < parts[1].count ? parts[1][parts[1].startIndex + index] - 0x30 : 0
                nanoseconds = nanoseconds * 10 + UInt32(digit)
            }
        }
        if !isNegative { return Timespec(seconds: seconds, nanoseconds: nanoseconds) }
        return nanoseconds == 0
            ? Timespec(seconds: -seconds, nanoseconds: 0)
            : Timespec(seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds)
    }

    static func encode(_ time: Timespec) -> String {
        var seconds = time.seconds
        var nanoseconds = time.nanoseconds
        var sign = ""
        if seconds < 0 {
            sign = "-"
            if nanoseconds > 0 {
                seconds += 1
                nanoseconds = 1_000_000_000 - nanoseconds
            }
        }
        let whole = String(seconds.magnitude)
        if nanoseconds == 0 { return sign + whole }
        let digits = String(nanoseconds)
        var fraction = String(repeating: "0", count: max(0, 9 - digits.count)) + digits
        while fraction.last == "0" { fraction.removeLast() }
        return "\(sign)\(whole).\(fraction)"
    }
}
