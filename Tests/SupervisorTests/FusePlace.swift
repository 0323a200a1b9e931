import Glibc
import Platform
import SystemPackage

/// A mount namespace in which everybody may open /dev/fuse, as on most machines: for tests of ordinary users where the host keeps
/// it to root.
final class FusePlace {
    /// The process that holds the namespace.
    let pid: Int32
    private let folder: String
    private let process: ChildProcess

    init(_ folder: String) throws {
        self.folder = folder
        _ = unsafe mkdir(folder, 0o755)
        let script = """
            mount -t tmpfs -o dev none "$1" && mknod -m 666 "$1/fuse" c 10 229 && mount --bind "$1/fuse" /dev/fuse \
            && echo ready && exec sleep infinity
            """
        let program = try SystemCall.openPath("/usr/bin/unshare")
        let null = try SystemCall.open("/dev/null", O_RDWR)
        let reading: SharedDescriptor
        do {
            let pipe = try SystemCall.pipe()
            defer { withExtendedLifetime(pipe) {} }
            reading = pipe.reading
            let plan = ProcessPlan(
                executable: program.rawValue,
                arguments: ["unshare", "-m", "--propagation", "private", "/bin/sh", "-c", script, "sh", folder],
                environment: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
                descriptors: [null.rawValue, pipe.writing.rawValue, 2])
            process = try plan.run()
        }
        pid = process.processID
        // The end instead of a word: it can't be.
        defer { withExtendedLifetime(reading) {} }
        guard let bytes = try SystemCall.receiveSome(reading.rawValue), !bytes.isEmpty else { throw Errno.notPermitted }
    }

    /// Ends the namespace.
    func end() {
        try? process.send(signal: SIGKILL)
        _ = try? process.waitForEnd()
        _ = unsafe rmdir(folder)
    }
}
