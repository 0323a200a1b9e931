import DisplayScheme
import Platform
import Sandbox
import SchemeKit

/// The process of the display scheme. Pixels, windows and input lie in memory that the supervisor holds.
///
/// Settings, all with defaults:
/// - `size` of display 0 when it is made (`1280x720`)
/// - `uid`, `gid` whose display 0 is
/// - `password` that viewers must know
/// - `vnc-address`, `web-address` what the sockets listen on, for `info`
///
/// Descriptors, each if it is wanted: `vnc` a listening socket for VNC viewers, `web` one for browsers.
@main
struct DisplayProgram {
    /// Threads that answer: one for what is quick, one for pixels and pictures meanwhile.
    private static let workers = 2

    static func main() {
        SchemeServer.main(workers: workers, afterStart: { _ in try StrictMode.enter() }) { start in
            let state = try SchemeState(start, byteCount: DisplayScheme.stateByteCount)
            let owner = (try number(start, "uid"), try number(start, "gid"))
            let viewers = ["vnc", "web"].compactMap { kind in
                start.setting("\(kind)-address").map { "\(kind) \($0)\n" }
            }
            let scheme: DisplayScheme
            do {
                scheme = try DisplayScheme(
                    state, host: start.host, incarnation: start.incarnation, size: start.setting("size"), owner: owner,
                    viewers: viewers.joined())
            } catch let error as Errno {
                throw SchemeStartError.failed(error, "size \(start.setting("size") ?? "")")
            }
            try show(scheme, start)
            return scheme
        }
    }

    private static func show(_ scheme: DisplayScheme, _ start: SchemeStart) throws(SchemeStartError) {
        guard let viewers = try ViewerServer(scheme, start) else { return }
        do throws(Errno) {
            try viewers.start()
        } catch {
            throw .failed(error, "viewers")
        }
    }

    private static func number(_ start: SchemeStart, _ key: String) throws(SchemeStartError) -> UInt32 {
        guard let text = start.setting(key) else { return 0 }
        guard let number = UInt32(text) else { throw .badSetting(key, value: text) }
        return number
    }
}
