import BlockDevice
import SchemeKit
import Sandbox

/// The disk scheme's process: the only one that can reach the image.
///
/// Descriptors: `image`, opened and locked by the supervisor. Settings: `read-only` (1), `name` (for messages).
@main
struct DiskProgram {
    static func main() {
        SchemeServer.main(workers: 2, afterStart: { _ in try StrictMode.enter() }) { start in
            let isReadOnly = start.setting("read-only") == "1"
            let name = start.setting("name") ?? start.name
            let device: FileDevice
            do {
                device = try FileDevice(
                    adopting: try start.ownedDescriptor("image"), name: name, writable: !isReadOnly)
            } catch let error as BlockDeviceError {
                throw SchemeStartError.failed(error.errno, "\(error)")
            }
            return DiskScheme(FaultyDevice(device))
        }
    }
}
