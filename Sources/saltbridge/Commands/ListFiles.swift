import ArgumentParser
import DiskFormat
import Glibc
import ImageTools
import RedoxFS

struct ListFiles: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls", abstract: "List files in an image, or of a scheme of a running mount.",
        discussion: "In place of IMAGE, /scheme/NAME is a scheme of a running mount, /scheme all of them.")

    @OptionGroup var image: ImageOptions

    @Argument(help: "What to list.")
    var path = "/"

    @Flag(name: [.customShort("l"), .long], help: "Show mode, links, owner, group, size and time.")
    var long = false

    @Flag(name: [.customShort("R"), .long], help: "List what is in directories, too.")
    var recursive = false

    @OptionGroup var generation: GenerationOptions

    @OptionGroup var mount: MountSelection

    @OptionGroup var output: OutputOptions

    func run() throws {
        if let scheme = SchemePath(image.image) {
            try SchemeFiles(mount: try mount.select()).list(
                scheme.appending(path), isLong: long, isRecursive: recursive, json: output.json)
            return
        }
        try image.read(generation) { try list($0.volume, salvages: $0.salvages) }
    }

    /// - Parameter salvages: whether entries whose nodes can't be read are shown by name alone; without, they end the list.
    private func list(_ volume: ImageVolume, salvages: Bool) throws {
        let top = try volume.resolve(path, followingLast: !long)
        var rows: [JSONValue] = []
        var isComplete = true
        do throws(FileSystemError) {
            if top.kind != .directory {
                let name = Array(path.utf8)
                if output.json {
                    rows.append(try row(volume, name, top))
                } else {
                    Console.print(try line(volume, name, top))
                }
            } else {
                var pending = [(Array(path.utf8), top.node)]
                var isFirst = true
                var visited: Set<NodeID> = []
                while let (directory, node) = pending.popLast() {
                    guard visited.insert(node).inserted else { continue }
                    if recursive && !output.json {
                        Console.print((isFirst ? "" : "\n") + ToolFailure.display(directory) + ":")
                        isFirst = false
                    }
                    var below: [([UInt8], NodeID)] = []
                    let entries: [DirectoryEntry]
                    do throws(FileSystemError) {
                        entries = try volume.entries(node)
                    } catch {
                        guard salvages else { throw error }
                        isComplete = false
                        warn(error, directory)
                        continue
                    }
                    for entry in entries {
                        let full = directory + (directory.last == 0x2F ? [] : [0x2F]) + entry.name
                        do throws(FileSystemError) {
                            let attributes = try volume.fileSystem.attributes(entry.node)
                            if output.json {
                                rows.append(try row(volume, full, attributes))
                            } else {
                                Console.print(try line(volume, entry.name, attributes))
                            }
                            if attributes.kind == .directory { below.append((full, entry.node)) }
                        } catch {
                            guard salvages else { throw error }
                            isComplete = false
                            warn(error, full)
                            if output.json {
                                rows.append(Self.unreadableRow(full, entry))
                            } else {
                                Console.print(unreadableLine(entry.name))
                            }
                        }
                    }
                    if recursive { pending += below.reversed() }
                }
            }
        } catch {
            throw ToolFailure.fileSystem(error, "list", "\(path) in \(volume.name)")
        }
        if output.json { Console.print(.array(rows)) }
        if !isComplete { throw CommandExit(code: 1) }
    }

    private func warn(_ error: FileSystemError, _ path: [UInt8]) {
        Console.warn(ToolFailure.fileSystem(error, "read", ToolFailure.display(path)).message)
    }

    /// An entry of which only the directory tells something.
    private static func unreadableRow(_ path: [UInt8], _ entry: DirectoryEntry) -> JSONValue {
        .object([
            ("path", .text(path)), ("type", .null), ("node", .unsigned(UInt64(entry.node.rawValue))),
        ])
    }

    private func unreadableLine(_ name: [UInt8]) -> String {
        let shown = ToolFailure.display(name)
        guard long else { return shown }
        let widths = [3, 5, 5, 12, 19]
        return (["?---------"] + widths.map { Self.padded("?", $0) } + [shown]).joined(separator: " ")
    }

    private func row(
        _ volume: ImageVolume, _ path: [UInt8], _ attributes: Attributes
    ) throws(FileSystemError) -> JSONValue {
        var members: [(String, JSONValue)] = [
            ("path", .text(path)), ("type", .string(attributes.kind.word)),
            ("mode", .string(String(attributes.mode, radix: 8))), ("links", .unsigned(UInt64(attributes.links))),
            ("uid", .unsigned(UInt64(attributes.uid))), ("gid", .unsigned(UInt64(attributes.gid))),
            ("size", .unsigned(attributes.size)), ("blocks", .unsigned(attributes.blocks)),
            ("mtime", .string(Manifest.time(attributes.mtime))), ("node", .unsigned(UInt64(attributes.node.rawValue))),
        ]
        if attributes.kind == .symbolicLink {
            members.append(("target", .text(try volume.fileSystem.readSymbolicLink(attributes.node))))
        }
        if attributes.kind.isDevice {
            let device = DeviceNumber(encoded: attributes.device)
            members.append(("device", .string("\(device.major):\(device.minor)")))
        }
        return .object(members)
    }

    private func line(
        _ volume: ImageVolume, _ name: [UInt8], _ attributes: Attributes
    ) throws(FileSystemError) -> String {
        let shown = ToolFailure.display(name)
        guard long else { return shown }
        var size = String(attributes.size)
        if attributes.kind.isDevice {
            let device = DeviceNumber(encoded: attributes.device)
            size = "\(device.major), \(device.minor)"
        }
        var target = ""
        if attributes.kind == .symbolicLink {
            target = " -> " + ToolFailure.display(try volume.fileSystem.readSymbolicLink(attributes.node))
        }
        let columns = [
            ModeText.format(attributes.kind, attributes.mode), Self.padded(String(attributes.links), 3),
            Self.padded(String(attributes.uid), 5), Self.padded(String(attributes.gid), 5), Self.padded(size, 12),
            LocalTime.format(attributes.mtime),
        ]
        return columns.joined(separator: " ") + " " + shown + target
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }
}

/// Modes as ls(1) shows them.
enum ModeText {
    static func format(_ kind: NodeKind, _ mode: UInt16) -> String {
        let letter =
            switch kind {
            case .file: "-"
            case .directory: "d"
            case .symbolicLink: "l"
            case .fifo: "p"
            case .socket: "s"
            case .characterDevice: "c"
            case .blockDevice: "b"
            }
        var text = letter
        for (shift, special, set, unset) in [(6, 0o4000, "s", "S"), (3, 0o2000, "s", "S"), (0, 0o1000, "t", "T")] {
            let bits = (mode >> UInt16(shift)) & 7
            text += bits & 4 != 0 ? "r" : "-"
            text += bits & 2 != 0 ? "w" : "-"
            let isSpecial = mode & UInt16(special) != 0
            text += isSpecial ? (bits & 1 != 0 ? set : unset) : (bits & 1 != 0 ? "x" : "-")
        }
        return text
    }
}

/// Times in the time zone of the user.
enum LocalTime {
    static func format(_ time: Timespec) -> String {
        var seconds = time_t(time.seconds)
        var parts = unsafe tm()
        guard unsafe localtime_r(&seconds, &parts) != nil else { return String(time.seconds) }
        var buffer = [CChar](repeating: 0, count: 64)
        let count = unsafe strftime(&buffer, buffer.count, "%Y-%m-%d %H:%M:%S", &parts)
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
