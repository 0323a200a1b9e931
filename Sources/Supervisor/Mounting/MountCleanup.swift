import Glibc
import Platform
import SystemPackage

/// A process that outlives the supervisor for a moment: when the supervisor dies without unmounting, it does.
///
/// It holds one end of a pipe. A byte means that all is well; the end without a byte means that the supervisor is dead.
public final class MountCleanup {
    private let pipe: SharedDescriptor
    private let process: ChildProcess

    /// The argument that makes the supervisor's program this one.
    public static let argument = "--cleanup"

    /// Starts it; nil if that fails: the mount then stays behind a dead supervisor, until fusermount3 -u.
    init?(program path: String, _ mountpoint: String) {
        do {
            let program = try SystemCall.openPath(path)
            let null = try SystemCall.open("/dev/null", O_RDWR)
            let ends = try SystemCall.pipe()
            // A descriptor closes with its last use, and a number is none.
            defer { withExtendedLifetime(ends) {} }
            var plan = ProcessPlan(
                executable: program.rawValue, arguments: [path, Self.argument, mountpoint],
                environment: ["SWIFT_BACKTRACE=enable=no"],
                descriptors: [null.rawValue, null.rawValue, null.rawValue, ends.reading.rawValue])
            plan.newSession = true
            process = try plan.run()
            pipe = ends.writing
        } catch {
            return nil
        }
    }

    /// All is well: it ends.
    func dismiss() {
        try? SystemCall.write(text: ".", to: pipe.rawValue)
        _ = try? process.waitForEnd()
    }

    /// The program: waits for the supervisor's end, then takes the mount away if it is dead.
    public static func main(mountpoint: String) -> Never {
        var byte: UInt8 = 0
        let count = (try? SystemCall.retrying { unsafe Glibc.read(3, &byte, 1) }) ?? 0
        if count == 0 {
            // The processes die with the supervisor; until then the mount still answers.
            for _ in 0..<100 {
                if isDead(mountpoint) {
                    _ = FuseMount.unmountOnce(mountpoint, isLazy: true)
                    break
                }
                usleep(20_000)
            }
        }
        exit(0)
    }

    /// A FUSE mount whose connection is closed.
    private static func isDead(_ mountpoint: String) -> Bool {
        do throws(Errno) {
            _ = try SystemCall.open(mountpoint, O_RDONLY | O_DIRECTORY)
            return false
        } catch {
            return error == Errno(rawValue: ENOTCONN) || error == Errno(rawValue: ECONNABORTED)
        }
    }
}
