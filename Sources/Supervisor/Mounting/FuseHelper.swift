import Glibc
import Platform
import SystemPackage

/// fusermount3(1), which mounts and unmounts for ordinary users.
enum FuseHelper {
    private static let places = ["/usr/bin/fusermount3", "/bin/fusermount3", "/usr/local/bin/fusermount3"]

    /// Mounts and receives the FUSE connection over a socket whose number the variable _FUSE_COMMFD tells.
    static func mount(_ request: MountRequest) throws(MountError) -> SharedDescriptor {
        var options = try MountOptions.helperOptions(request.options)
        options += [
            "fsname=\(escaped(request.source))", "subtype=saltbridge", "default_permissions", "max_read=1048576",
        ]
        let connection: SharedDescriptor
        var words = ""
        do throws(Errno) {
            let (ours, theirs) = try SystemCall.socketPair()
            // Descriptors close with their last use, and a number is none.
            defer { withExtendedLifetime((ours, theirs)) {} }
            let ended: ProcessEnd
            (ended, words) = try run(
                ["-o", options.joined(separator: ","), "--", request.mountpoint], socket: theirs.rawValue)
            var buffer = [UInt8](repeating: 0, count: 16)
            var span = buffer.mutableSpan
            var bytes = unsafe span.mutableBytes
            guard ended == .exited(0),
                let received = try SystemCall.receive(ours.rawValue, into: &bytes, wait: false).descriptors.first
            else { throw .ioError }
            connection = received
        } catch .noSuchFileOrDirectory {
            throw .noHelper
        } catch {
            throw .helper("could not mount \(request.mountpoint)" + (words.isEmpty ? "" : ": \(words)"))
        }
        return connection
    }

    /// Unmounts; nil: done.
    static func unmount(_ mountpoint: String, isLazy: Bool) -> MountError? {
        do throws(Errno) {
            let (end, _) = try run(["-u", "-q"] + (isLazy ? ["-z"] : []) + ["--", mountpoint], socket: nil)
            return end == .exited(0) ? nil : .busy(mountpoint)
        } catch .noSuchFileOrDirectory {
            return .noHelper
        } catch {
            return .helper("\(error)")
        }
    }

    /// Commas and backslashes separate options.
    private static func escaped(_ text: String) -> String {
        text.reduce(into: "") { result, character in
            if character == "," || character == "\\" { result += "\\" }
            result.append(character)
        }
    }

    /// Runs it; what it says of its troubles comes back, on one line.
    private static func run(
        _ arguments: [String], socket: Int32?
    ) throws(Errno) -> (end: ProcessEnd, words: String) {
        guard let path = places.first(where: { SystemCall.exists($0) }) else { throw .noSuchFileOrDirectory }
        let program = try SystemCall.openPath(path)
        let null = try SystemCall.open("/dev/null", O_RDWR)
        // A socket, as it is read without waiting: a helper's child could hold it open.
        let (ours, theirs) = try SystemCall.socketPair()
        defer { withExtendedLifetime((ours, theirs)) {} }
        var plan = ProcessPlan(
            executable: program.rawValue, arguments: ["fusermount3"] + arguments,
            environment: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            descriptors: [null.rawValue, null.rawValue, theirs.rawValue])
        if let socket {
            plan.environment.append("_FUSE_COMMFD=3")
            plan.descriptors.append(socket)
        }
        let process: ChildProcess
        do throws(SpawnError) {
            process = try plan.run()
        } catch {
            throw error.errno
        }
        let end = try process.waitForEnd()
        var buffer = [UInt8](repeating: 0, count: 1024)
        var span = buffer.mutableSpan
        var bytes = unsafe span.mutableBytes
        let count = (try? SystemCall.receive(ours.rawValue, into: &bytes, wait: false).byteCount) ?? 0
        var words = String(decoding: buffer.prefix(count), as: UTF8.self).split(separator: "\n").joined(separator: "; ")
        if words.hasPrefix("fusermount3: ") { words.removeFirst(13) }
        return (end, words)
    }
}
