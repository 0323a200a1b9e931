import CFuzzer
import FuzzSupport

/// `fuzz-image`: libFuzzer over damaged images. The bytes that it varies are the choices of a mutator, not the image: so each
/// input gets past the checksums, and a finding is a few bytes.
@main
struct FuzzImage {
    static func main() {
        var count = CommandLine.argc
        var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>! = unsafe CommandLine.unsafeArgv
        let status = unsafe LLVMFuzzerRunDriver(&count, &arguments) { data, size in
            let bytes = unsafe [UInt8](UnsafeBufferPointer(start: data, count: size))
            do {
                let faults = try FuzzInput.run(bytes)
                if let first = faults.first { fatalError(first) }
            } catch {
                fatalError("the fixtures can't be read: \(error)")
            }
            return 0
        }
        if status != 0 { fatalError("the fuzzer ended with \(status)") }
    }
}
