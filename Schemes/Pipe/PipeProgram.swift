import Sandbox
import SchemeKit

/// The process of the pipe scheme. The contents of pipes lie in memory that the supervisor holds.
@main
struct PipeProgram {
    static func main() {
        SchemeServer.main(afterStart: { _ in try StrictMode.enter() }, rehearse: { try StrictMode.rehearse() }) {
            start in
            PipeScheme(try SchemeState(start, byteCount: PipeMemory.byteCount), start.host)
        }
    }
}
