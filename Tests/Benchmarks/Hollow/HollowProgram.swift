import Sandbox
import SchemeKit

/// The process of the scheme that does nothing: the ceiling that `Scripts/bench mount` compares a real file system with.
@main
struct HollowProgram {
    static func main() {
        SchemeServer.main(afterStart: { _ in try StrictMode.enter() }) { _ in HollowScheme() }
    }
}
