import NetworkScheme
import Sandbox
import SchemeKit

/// The process of the network scheme: the only one that reaches a network. The sockets are held by the supervisor, what is known of
/// them lies in memory that the supervisor holds.
///
/// Settings: `owner` (UID:GID of who mounted), `allow` and `deny` (lists of rules, separated by spaces).
@main
struct NetworkProgram {
    static func main() {
        SchemeServer.main(afterStart: { _ in try StrictMode.enter() }) { start in try NetworkScheme(start) }
    }
}
