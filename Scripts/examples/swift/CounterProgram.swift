import Sandbox
import SchemeKit

/// The counter scheme in Swift, with SchemeKit. What it serves stands in ../README.md.
@main
struct CounterProgram {
    static func main() {
        SchemeServer.main(afterStart: { _ in try StrictMode.enter() }) { start in
            PathScheme(CounterScheme(CounterState(try SchemeState(start, byteCount: 4096))))
        }
    }
}
