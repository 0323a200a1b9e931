import ImageTools
import Platform
import SchemeProtocol
import Supervisor
import SystemPackage

/// Requests of a trace as lines.
struct TracePrinter {
    private let mount: RunningMount
    private let isJSON: Bool
    private let startedAt = Clock.monotonicNanoseconds()
    private var schemes: [UInt32: String] = [:]
    private var paths: [UInt32: TracePaths] = [:]

    init(mount: RunningMount, isJSON: Bool) {
        self.mount = mount
        self.isJSON = isJSON
        schemes = Self.schemes(mount.status)
    }

    /// The schemes of the router's channels, by the channel's number.
    private static func schemes(_ status: ControlJSON) -> [UInt32: String] {
        var result: [UInt32: String] = [:]
        for process in status["processes"]?.array ?? [] {
            for channel in process["channels"]?.array ?? [] where channel["client"]?.string == "router" {
                guard let number = channel["number"]?.integer.flatMap({ UInt32(exactly: $0) }) else { continue }
                result[number] = process["name"]?.string
            }
        }
        return result
    }

    /// Whether there is such a scheme.
    func knows(_ scheme: String) -> Bool { schemes.values.contains(scheme) }

    /// What stands above the lines.
    func begin() {
        if !isJSON { Console.print("   SECONDS  SCHEME      TOTAL us  SERVER us  REQUEST") }
    }

    /// The line of an event; nil if it isn't wanted, or makes no sense.
    mutating func line(_ event: TraceEvent, scheme wanted: String?, operations: Set<String>, slow: UInt64?) -> String? {
        guard let opcode = Opcode(rawValue: event.opcode) else { return nil }
        if schemes[event.channel] == nil, let answer = try? mount.ask(.make(["command": .string("status")])) {
            schemes = Self.schemes(answer["status"] ?? .null)
        }
        let scheme = schemes[event.channel] ?? "channel \(event.channel)"
        var known = paths.removeValue(forKey: event.channel) ?? TracePaths()
        let place = known.place(event, opcode)
        known.learn(event, opcode)
        paths[event.channel] = known
        if let wanted, wanted != scheme { return nil }
        if !operations.isEmpty, !operations.contains(opcode.name) { return nil }
        if let slow, event.nanoseconds / 1000 < slow { return nil }
        return isJSON ? json(event, opcode, scheme, place) : text(event, opcode, scheme, place)
    }

    private func text(_ event: TraceEvent, _ opcode: Opcode, _ scheme: String, _ place: String) -> String {
        let since = event.submittedAt > startedAt ? event.submittedAt - startedAt : 0
        var arguments = [place].filter { !$0.isEmpty }
        if event.handle != 0 { arguments.append("h\(event.handle)") }
        if event.length != 0 || opcode == .read || opcode == .write {
            arguments.append(opcode.hasOffset ? "\(event.length) at \(event.offset)" : "\(event.length)")
        } else if event.offset != 0 {
            arguments.append("at \(event.offset)")
        }
        var result = event.result < 0 ? ErrnoName.text(event.result) : "\(event.result)"
        if event.found != 0, opcode != .rename { result = "#\(event.found)" }
        if event.flags.contains(.replay) { result += " (repeated)" }
        if event.flags.contains(.local) { result += " (by the router)" }
        return "\(cell(decimal(since, 1_000_000_000, 6), 10))  \(filled(scheme, 8))  "
            + "\(cell(decimal(event.nanoseconds, 1000, 1), 10))  \(cell(decimal(event.serverNanoseconds, 1000, 1), 9))  "
            + "\(opcode.name)(\(arguments.joined(separator: ", "))) = \(result)"
    }

    private func json(_ event: TraceEvent, _ opcode: Opcode, _ scheme: String, _ place: String) -> String {
        ControlJSON.make([
            "time_ns": .count(event.submittedAt), "scheme": .string(scheme), "operation": .string(opcode.name),
            "node": .count(event.node), "place": .string(place), "handle": .count(event.handle),
            "offset": .count(event.offset), "length": .count(event.length), "result": .integer(event.result),
            "error": event.result < 0 ? .string(ErrnoName.text(event.result)) : .null, "found": .count(event.found),
            "uid": .count(event.uid), "pid": .count(event.pid), "total_ns": .count(event.nanoseconds),
            "server_ns": .count(event.serverNanoseconds), "repeated": .bool(event.flags.contains(.replay)),
            "by_router": .bool(event.flags.contains(.local)),
        ]).text
    }

    private func cell(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }

    private func filled(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    /// A fraction with some digits behind the point, cut off.
    private func decimal(_ value: UInt64, _ unit: UInt64, _ digits: Int) -> String {
        var scale: UInt64 = 1
        for _ in 0..<digits { scale *= 10 }
        let rest = "\((value % unit) / (unit / scale))"
        return "\(value / unit)." + String(repeating: "0", count: digits - rest.count) + rest
    }
}

extension Opcode {
    /// Whether the offset is meant also when it is 0.
    fileprivate var hasOffset: Bool {
        switch self {
        case .read, .write, .fallocate, .copyFileRange: true
        default: false
        }
    }
}

/// The names of the error numbers that file systems give.
enum ErrnoName {
    private static let names: [Int64: String] = [
        1: "EPERM", 2: "ENOENT", 4: "EINTR", 5: "EIO", 6: "ENXIO", 7: "E2BIG", 9: "EBADF", 11: "EAGAIN", 12: "ENOMEM",
        13: "EACCES", 14: "EFAULT", 16: "EBUSY", 17: "EEXIST", 18: "EXDEV", 19: "ENODEV", 20: "ENOTDIR", 21: "EISDIR",
        22: "EINVAL", 23: "ENFILE", 24: "EMFILE", 25: "ENOTTY", 26: "ETXTBSY", 27: "EFBIG", 28: "ENOSPC", 29: "ESPIPE",
        30: "EROFS", 31: "EMLINK", 32: "EPIPE", 34: "ERANGE", 36: "ENAMETOOLONG", 38: "ENOSYS", 39: "ENOTEMPTY",
        40: "ELOOP", 61: "ENODATA", 71: "EPROTO", 75: "EOVERFLOW", 84: "EILSEQ", 90: "EMSGSIZE", 95: "EOPNOTSUPP",
        103: "ECONNABORTED", 104: "ECONNRESET", 107: "ENOTCONN", 110: "ETIMEDOUT", 111: "ECONNREFUSED",
        113: "EHOSTUNREACH", 115: "EINPROGRESS", 116: "ESTALE", 122: "EDQUOT", 125: "ECANCELED",
    ]

    /// The name of a negated error number.
    static func text(_ result: Int64) -> String { names[0 &- result] ?? "errno \(0 &- result)" }
}
