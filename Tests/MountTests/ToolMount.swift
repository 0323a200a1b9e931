import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

/// What a file holds.
func bytes(_ path: String) throws -> [UInt8] {
    let file = try SystemCall.open(path, O_RDONLY)
    return try SystemCall.readToEnd(file.rawValue, limit: 1 << 30)
}

/// A folder with an image that the command line mounts, as root; nothing of it is left behind.
final class ToolMount: Sendable {
    let folder: TemporaryDirectory
    let image: String
    let point: String
    private let program: BuiltProgram

    init(size: String? = "64M") throws {
        folder = try TemporaryDirectory()
        // Servers and other users have to get to it.
        _ = unsafe chmod(folder.path, 0o755)
        image = folder.file("disk.img")
        point = folder.file("mnt")
        program = try BuiltProgram.saltbridge()
        _ = unsafe mkdir(point, 0o755)
        if let size { try succeed("mkfs", image, "--size", size) }
    }

    deinit {
        // Before the folder goes with everything in it.
        _ = try? program.run(["unmount", "--lazy", point], in: folder)
        _ = unsafe umount2(point, Int32(MNT_DETACH))
    }

    /// Runs the command line tool.
    func run(_ arguments: [String]) throws -> BuiltProgram.Result { try program.run(arguments, in: folder) }

    /// Runs it, expecting success.
    @discardableResult
    func succeed(_ arguments: String...) throws -> BuiltProgram.Result {
        let result = try run(arguments)
        #expect(result.status == 0, "\(arguments): \(result.errors)")
        return result
    }

    /// Runs it on this mount, expecting success.
    @discardableResult
    func ask(_ arguments: String...) throws -> BuiltProgram.Result {
        let result = try run(arguments + ["--mount", point])
        #expect(result.status == 0, "\(arguments): \(result.errors)")
        return result
    }

    func mount(_ options: String...) throws { try mount(image, options) }

    /// Mounts another image than the one that was made.
    func mount(image: String, _ options: String...) throws { try mount(image, options) }

    private func mount(_ image: String, _ options: [String]) throws {
        let result = try run(["mount", image, point] + options)
        try #require(result.status == 0, "\(result.errors)")
    }

    /// Unmounts. A process that another test is just starting has copies of what is open here until it closes them: the mount
    /// is busy for that moment.
    func unmount() throws {
        var result = try run(["unmount", point])
        for _ in 0..<200 where result.status != 0 && result.errors.contains("is in use") {
            usleep(20_000)
            result = try run(["unmount", point])
        }
        #expect(result.status == 0, "\(result.errors)")
    }

    /// What `status` says of one process.
    func process(_ name: String) throws -> JSONValue {
        let all = try JSONValue(parsing: try succeed("status", point, "--json").output)
        let processes = all.array?.first?["processes"]?.array ?? []
        return try #require(processes.first { $0["name"]?.string == name })
    }

    /// The supervisor's process.
    func supervisor() throws -> Int32 {
        let status = try JSONValue(parsing: try succeed("status", point, "--json").output)
        let pid = status.array?.first?["pid"]?.integer.flatMap { Int32(exactly: $0) }
        return try #require(pid)
    }

    /// Runs a program of the host.
    func host(_ program: String, _ arguments: String...) throws -> BuiltProgram.Result {
        try BuiltProgram(path: program).run(arguments, in: folder)
    }

    /// Where the command line tool is.
    var programPath: String { program.path }

    var isMounted: Bool {
        ((try? SystemCall.smallFile("/proc/self/mounts")) ?? "").contains(" \(point) fuse.saltbridge ")
    }

    func path(_ name: String) -> String { "\(point)/\(name)" }

    /// Writes a file and makes it durable.
    func write(_ name: String, _ text: String) throws {
        let file = try SystemCall.open(path(name), O_CREAT | O_WRONLY | O_TRUNC, mode: 0o644)
        try SystemCall.write(text: text, to: file.rawValue)
        if fsync(file.rawValue) != 0 { throw Errno(rawValue: errno) }
        try file.close()
    }

    func read(_ name: String) throws -> String { try SystemCall.smallFile(path(name)) }
}
