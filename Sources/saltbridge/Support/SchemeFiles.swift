import DiskFormat
import Glibc
import ImageTools
import Platform
import SystemPackage

/// Lists and prints files of a running mount, as `ls` and `cat` do those of an image.
struct SchemeFiles {
    let mount: RunningMount

    /// Prints what a path names: a directory's entries, or the file itself.
    func list(_ path: SchemePath, isLong: Bool, isRecursive: Bool, json: Bool) throws {
        var rows: [JSONValue] = []
        var pending = [path]
        var isFirst = true
        while let folder = pending.popLast() {
            let place = try folder.place(in: mount)
            guard try status(place, folder).st_mode & S_IFMT == S_IFDIR else {
                try show(folder, name: folder.text, isLong, json, &rows)
                continue
            }
            if isRecursive, !json {
                Console.print((isFirst ? "" : "\n") + folder.description + ":")
                isFirst = false
            }
            var below: [SchemePath] = []
            for name in try folder.names(in: mount) {
                let entry = folder.appending(name)
                try show(entry, name: name, isLong, json, &rows)
                let kind = try status(try entry.place(in: mount), entry).st_mode & S_IFMT
                if isRecursive, kind == S_IFDIR { below.append(entry) }
            }
            pending += below.reversed()
        }
        if json { Console.print(.array(rows)) }
    }

    private func status(_ place: String, _ path: SchemePath) throws(ToolFailure) -> stat {
        do throws(Errno) {
            return try SystemCall.statusAt(AT_FDCWD, place, flags: AT_SYMLINK_NOFOLLOW)
        } catch {
            throw ToolFailure("\(path.description): \(error)")
        }
    }

    private func show(
        _ path: SchemePath, name: String, _ isLong: Bool, _ json: Bool, _ rows: inout [JSONValue]
    ) throws(ToolFailure) {
        guard isLong || json else {
            Console.print(ToolFailure.display(Array(name.utf8)))
            return
        }
        let status = try status(try path.place(in: mount), path)
        let mode = UInt16(truncatingIfNeeded: status.st_mode & 0o7777)
        let kind = Self.kind(status.st_mode)
        let time = Timespec(
            seconds: Int64(status.st_mtim.tv_sec), nanoseconds: UInt32(truncatingIfNeeded: status.st_mtim.tv_nsec))
        if json {
            rows.append(
                .object([
                    ("path", .string(path.text)), ("type", .string(kind.word)),
                    ("mode", .string(String(mode, radix: 8))), ("links", .unsigned(UInt64(status.st_nlink))),
                    ("uid", .unsigned(UInt64(status.st_uid))), ("gid", .unsigned(UInt64(status.st_gid))),
                    ("size", .integer(Int64(status.st_size))), ("mtime", .string(Manifest.time(time))),
                    ("node", .unsigned(UInt64(status.st_ino))),
                ]))
            return
        }
        let columns = [
            ModeText.format(kind, mode), Self.padded("\(status.st_nlink)", 3), Self.padded("\(status.st_uid)", 5),
            Self.padded("\(status.st_gid)", 5), Self.padded("\(status.st_size)", 12), LocalTime.format(time),
        ]
        Console.print(columns.joined(separator: " ") + " " + ToolFailure.display(Array(name.utf8)))
    }

    private static func kind(_ mode: mode_t) -> NodeKind {
        switch mode & S_IFMT {
        case S_IFDIR: .directory
        case S_IFLNK: .symbolicLink
        case S_IFIFO: .fifo
        case S_IFSOCK: .socket
        case S_IFCHR: .characterDevice
        case S_IFBLK: .blockDevice
        default: .file
        }
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }

    /// Gives the contents of a file as they come; of a stream to its end.
    func copy(_ path: SchemePath, _ body: ([UInt8]) throws(ToolFailure) -> Void) throws(ToolFailure) {
        let place = try path.place(in: mount)
        let file: SharedDescriptor
        do throws(Errno) {
            file = SharedDescriptor(try SystemCall.open(place, O_RDONLY))
        } catch {
            throw ToolFailure("\(path.description): \(error)")
        }
        while true {
            let bytes = try read(file, path)
            if bytes.isEmpty { return }
            try body(bytes)
        }
    }

    private func read(_ file: SharedDescriptor, _ path: SchemePath) throws(ToolFailure) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 1 << 17)
        do throws(Errno) {
            var span = buffer.mutableSpan
            var bytes = unsafe span.mutableBytes
            let count = try SystemCall.read(file.rawValue, into: &bytes)
            return Array(buffer[..<count])
        } catch {
            throw ToolFailure("\(path.description): \(error)")
        }
    }
}
