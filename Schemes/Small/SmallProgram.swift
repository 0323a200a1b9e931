import SchemeKit
import Sandbox

/// The process of the small schemes: each is a file in its root. They need no state and nothing from outside.
@main
struct SmallProgram {
    static func main() {
        SchemeServer.main(afterStart: { _ in try StrictMode.enter() }, rehearse: { try StrictMode.rehearse() }) {
            start in
            PathScheme(SmallScheme(start.host))
        }
    }
}
