import DiskFormat
import Glibc
import ImageTools
import Platform
import Supervisor
import SystemPackage

/// The files of a bug report: texts about the system, none of the user's.
struct BugReport {
    private(set) var files: [(name: String, text: String)] = []
    private static let logLimit = 1 << 20

    /// Asks the machine and all mounts of the caller.
    static func collect() -> BugReport {
        var report = BugReport()
        var texts: [(name: String, text: String)] = []
        var redaction = Redaction()
        let mounts = RunningMount.all()
        for (index, mount) in mounts.enumerated() {
            redaction.add(mount.status["source"]?.string, as: "image-\(index + 1)")
            redaction.add(mount.mountpoint, as: "mount-\(index + 1)")
            for (number, file) in (mount.status["files"]?.array ?? []).enumerated() {
                redaction.add(file.string, as: "file-\(index + 1).\(number + 1)")
            }
        }
        redaction.addPerson()
        func add(_ name: String, _ text: String) { texts.append((name, text)) }
        add("version.txt", "saltbridge \(Saltbridge.configuration.version)\n")
        add("system.txt", system)
        add("doctor.json", JSONValue.array(HostChecks.run().map(\.json)).text + "\n")
        for (index, mount) in mounts.enumerated() {
            let folder = "mount-\(index + 1)"
            // Status has the timelines of all recoveries.
            add("\(folder)/status.json", mount.status.text + "\n")
            for process in mount.status["processes"]?.array ?? [] {
                guard let name = process["name"]?.string else { continue }
                let answer = try? mount.ask(.make(["command": .string("get"), "scheme": .string(name)]))
                add("\(folder)/\(name).json", (answer ?? .null).text + "\n")
            }
            add("\(folder)/log.txt", log(mount))
        }
        // When all is collected: what has died meanwhile is named in it, too.
        for (index, mountpoint) in HostChecks.deadMountpoints.enumerated() {
            redaction.add(mountpoint, as: "dead-\(index + 1)")
        }
        report.files = texts.map { ($0.name, redaction.apply($0.text)) }
        return report
    }

    /// The end of a mount's log, if it has the usual place.
    private static func log(_ mount: RunningMount) -> String {
        guard let file = try? SystemCall.open(ControlDirectory.logPath(mount.socketPath), O_RDONLY),
            let bytes = try? SystemCall.readToEnd(file.rawValue, limit: 1 << 28)
        else { return "the log is somewhere else\n" }
        return String(decoding: bytes.suffix(logLimit), as: UTF8.self)
    }

    private static var system: String {
        ["/proc/version", "/proc/loadavg", "/proc/meminfo", "/etc/os-release"].map { path in
            "\(path)\n\((try? SystemCall.smallFile(path)) ?? "can't be read\n")"
        }.joined(separator: "\n")
    }

    /// Writes the archive.
    func write(to descriptor: Int32, name: String) throws(ToolFailure) {
        let sink = TarTreeSink(ByteWriter(descriptor: descriptor, name: name))
        var folders: Set<String> = []
        for (path, text) in files {
            let parts = path.split(separator: "/").map { Array($0.utf8) }
            if parts.count > 1, folders.insert(String(path.split(separator: "/")[0])).inserted {
                try sink.begin(entry([parts[0]], .directory))
                try sink.end()
            }
            var entry = entry(parts, .file)
            let bytes = Array(text.utf8)
            entry.size = UInt64(bytes.count)
            try sink.begin(entry)
            let span = bytes.span
            try sink.write(at: 0, unsafe span.bytes)
            try sink.end()
        }
        try sink.finish()
    }

    private func entry(_ path: [[UInt8]], _ kind: NodeKind) -> TreeEntry {
        var entry = TreeEntry(path: path, kind: kind, mode: kind == .directory ? 0o755 : 0o644)
        entry.modified = CurrentTime.now()
        return entry
    }
}

/// Words that say who somebody is, and what is put in their place.
struct Redaction {
    private var words: [(word: String, replacement: String)] = []

    /// A word that is at least two characters long.
    mutating func add(_ word: String?, as replacement: String) {
        guard let word, word.count > 1 else { return }
        words.append((word, replacement))
        // Longer ones first: a path before the folder that it lies in.
        words.sort { $0.word.count > $1.word.count }
    }

    /// The caller's home, user and machine.
    mutating func addPerson() {
        if let entry = unsafe getpwuid(getuid()) {
            let home = unsafe String(cString: entry.pointee.pw_dir)
            if home != "/" { add(home, as: "HOME") }
            let name = unsafe String(cString: entry.pointee.pw_name)
            if name != "root" { add(name, as: "USER") }
        }
        var buffer = [CChar](repeating: 0, count: 256)
        if unsafe gethostname(&buffer, buffer.count - 1) == 0 {
            let host = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if host != "localhost" { add(host, as: "HOST") }
        }
    }

    func apply(_ text: String) -> String {
        var bytes = Array(text.utf8)
        for (word, replacement) in words { bytes = Self.replace(Array(word.utf8), Array(replacement.utf8), in: bytes) }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func replace(_ word: [UInt8], _ replacement: [UInt8], in bytes: [UInt8]) -> [UInt8] {
        guard bytes.count >= word.count else { return bytes }
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var index = 0
        while index < bytes.count {
            if bytes[index] == word[0], bytes.count - index >= word.count,
                bytes[index..<(index + word.count)].elementsEqual(word)
            {
                result += replacement
                index += word.count
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return result
    }
}
