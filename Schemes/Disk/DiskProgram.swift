import BlockDevice
import DiskScheme
import SchemeKit
import Sandbox

/// The disk scheme's process: the only one that can reach the image.
///
/// Descriptors: `image`, opened and locked by who mounts; `overlay`, if all writes are to go there. Settings: `read-only` (1), `name` (for messages).
@main
struct DiskProgram {
    static func main() {
        SchemeServer.main(workers: 2, afterStart: { _ in try StrictMode.enter() }, rehearse: rehearse) { start in
            let isReadOnly = start.setting("read-only") == "1"
            let name = start.setting("name") ?? start.name
            let device: any BlockDevice
            do {
                let hasOverlay = start.descriptor("overlay") != nil
                let image = try FileDevice(
                    adopting: try start.ownedDescriptor("image"), name: name, writable: !isReadOnly && !hasOverlay)
                device =
                    hasOverlay
                    ? try OverlayFileDevice.configured(over: image, start, writable: !isReadOnly, notes: "unflushed")
                    : image
            } catch let error as BlockDeviceError {
                throw SchemeStartError.failed(error.errno, "\(error)")
            }
            return DiskScheme(device)
        }
    }

    /// A disk without anything on it.
    private static func rehearse() throws {
        try StrictMode.rehearse()
        _ = DiskScheme(MemoryDevice(byteCount: 1 << 20))
    }
}
