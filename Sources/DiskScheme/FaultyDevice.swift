import BlockDevice
import Platform
import SchemeKit
import SystemPackage

/// A device with faults that are set while it runs, to see what a file system makes of them.
///
/// Settings: `read-error`, `write-error`, `flush-error`, `corrupt` are probabilities from 0 to 1 (of a read with one bit turned
/// round), `latency` is in milliseconds, `seed` makes the faults the same again. `clear` (any value) takes all away.
final class FaultyDevice: BlockDevice {
    private struct Faults {
        var readError = 0.0
        var writeError = 0.0
        var flushError = 0.0
        var corrupt = 0.0
        var latency: UInt64 = 0
        var generator: UInt64 = 1
        var injected: UInt64 = 0
        var isActive: Bool { readError > 0 || writeError > 0 || flushError > 0 || corrupt > 0 || latency > 0 }

        mutating func draw() -> UInt64 {
            // SplitMix64.
            generator &+= 0x9e37_79b9_7f4a_7c15
            var value = generator
            value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
            value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
            return value ^ (value >> 31)
        }

        mutating func happens(_ probability: Double) -> Bool {
            guard probability > 0, Double(draw() >> 11) / Double(1 << 53) < probability else { return false }
            injected += 1
            return true
        }
    }

    private let device: any BlockDevice
    private let faults = Locked(Faults())

    init(_ device: any BlockDevice) { self.device = device }

    var byteCount: UInt64 { device.byteCount }
    var isWritable: Bool { device.isWritable }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(BlockDeviceError) {
        let length = buffer.byteCount
        let plan = decide { ($0.happens($0.readError), $0.happens($0.corrupt) ? $0.draw() : nil) }
        if plan.0 { throw .io(.ioError, offset: offset, length: length, operation: .read) }
        try device.read(at: offset, into: &buffer)
        guard let place = plan.1, length > 0 else { return }
        let index = Int(place % UInt64(length))
        let old = unsafe buffer.unsafeLoad(fromByteOffset: index, as: UInt8.self)
        buffer.storeBytes(of: old ^ (1 << UInt8(place >> 61)), toByteOffset: index, as: UInt8.self)
    }

    func write(at offset: UInt64, _ buffers: [BufferSlice]) throws(BlockDeviceError) {
        if decide({ ($0.happens($0.writeError), nil) }).0 {
            throw .io(.ioError, offset: offset, length: buffers.reduce(0) { $0 + $1.byteCount }, operation: .write)
        }
        try device.write(at: offset, buffers)
    }

    func writeZeros(at offset: UInt64, byteCount: UInt64) throws(BlockDeviceError) {
        if decide({ ($0.happens($0.writeError), nil) }).0 {
            throw .io(.ioError, offset: offset, length: Int(clamping: byteCount), operation: .write)
        }
        try device.writeZeros(at: offset, byteCount: byteCount)
    }

    func flush() throws(BlockDeviceError) {
        if decide({ ($0.happens($0.flushError), nil) }).0 {
            throw .io(.ioError, offset: 0, length: 0, operation: .flush)
        }
        try device.flush()
    }

    func discard(at offset: UInt64, byteCount: UInt64) throws(BlockDeviceError) {
        try device.discard(at: offset, byteCount: byteCount)
    }

    /// Draws what happens to an access, and waits if there is a latency.
    private func decide(_ draw: (inout Faults) -> (Bool, UInt64?)) -> (Bool, UInt64?) {
        let (latency, result) = faults.withLock { faults -> (UInt64, (Bool, UInt64?)) in
            guard faults.isActive else { return (0, (false, nil)) }
            return (faults.latency, draw(&faults))
        }
        if latency > 0 { SystemCall.sleep(nanoseconds: latency) }
        return result
    }

    func set(_ fields: [ControlMessage.Field]) throws(Errno) {
        var changed = faults.withLock { $0 }
        for field in fields {
            switch field.key {
            case "read-error": changed.readError = try Self.probability(field.value)
            case "write-error": changed.writeError = try Self.probability(field.value)
            case "flush-error": changed.flushError = try Self.probability(field.value)
            case "corrupt": changed.corrupt = try Self.probability(field.value)
            case "latency":
                guard let milliseconds = UInt64(field.value), milliseconds <= 60_000 else { throw .invalidArgument }
                changed.latency = milliseconds * 1_000_000
            case "seed":
                guard let seed = UInt64(field.value) else { throw .invalidArgument }
                changed.generator = seed
            case "clear": changed = Faults()
            default: throw .invalidArgument
            }
        }
        let new = changed
        faults.withLock { $0 = new }
    }

    private static func probability(_ text: String) throws(Errno) -> Double {
        guard let value = Double(text), value >= 0, value <= 1 else { throw .invalidArgument }
        return value
    }

    func report() -> [ControlMessage.Field] {
        let now = faults.withLock { $0 }
        return [
            .init("read-error", "\(now.readError)"), .init("write-error", "\(now.writeError)"),
            .init("flush-error", "\(now.flushError)"), .init("corrupt", "\(now.corrupt)"),
            .init("latency", "\(now.latency / 1_000_000)"), .init("faults-injected", "\(now.injected)"),
        ]
    }
}
