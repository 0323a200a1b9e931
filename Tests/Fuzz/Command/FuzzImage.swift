import FuzzSupport

/// `fuzz-image`: libFuzzer over damaged images; its runtime brings the program's main. The bytes that it varies are the choices of a
/// mutator, not the image: so each input gets past the checksums, and a finding is a few bytes.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    let bytes = unsafe [UInt8](UnsafeBufferPointer(start: data, count: size))
    do {
        let faults = try FuzzInput.run(bytes)
        if let first = faults.first { fatalError(first) }
    } catch {
        fatalError("the fixtures can't be read: \(error)")
    }
    return 0
}
