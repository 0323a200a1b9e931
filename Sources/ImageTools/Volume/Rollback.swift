import BlockCodec
import BlockDevice
import DiskFormat

/// Makes an older generation the current one: its header becomes that of a new generation. Nothing else is written, so
/// going back again is possible as long as nothing new was.
public enum Rollback {
    /// Does it.
    ///
    /// - Parameters:
    ///   - device: open for writing. The caller has checked that everything the generation needs is still there.
    ///   - password: one that opens the file system, if it is encrypted.
    ///   - name: of the image, for messages.
    /// - Returns: the number of the new generation.
    public static func run(
        _ device: any BlockDevice, to generation: Generation, password: [UInt8]?, name: String
    ) throws(ToolFailure) -> Generation {
        let found: HeaderStore?
        do throws(BlockDeviceError) {
            found = try HeaderStore(device)
        } catch {
            throw .device(error, path: name)
        }
        guard let store = found else { throw ToolFailure("no RedoxFS found in \(name)") }
        guard let old = store.headers.first(where: { $0.generation == generation }) else {
            throw ToolFailure(
                "\(name) has no generation \(generation) any more", advice: "`saltbridge history` lists those it has.")
        }
        if old.generation == store.newest.generation {
            throw ToolFailure("\(name): generation \(generation) is the current one")
        }
        var cipher: BlockCipher?
        if old.isEncrypted {
            do throws(CodecError) {
                cipher = try KeySlots.unlock(old, password: password ?? [])?.cipher
            } catch {
                throw ToolFailure("\(name): \(error)")
            }
            guard cipher != nil else { throw ToolFailure("\(name): wrong password") }
        }
        var header = old
        header.generation = store.newest.generation.next
        // Passwords, size and what mount made the last commit are those of today.
        header.setHeaderExtension(store.newest.headerExtension)
        for index in 0..<Limits.keySlotCount { header.setKeySlot(index, store.newest.keySlot(index)) }
        do throws(CodecError) {
            try header.seal(with: cipher)
        } catch {
            throw ToolFailure("\(name): \(error)")
        }
        do throws(BlockDeviceError) {
            try store.writeDurably(header)
        } catch {
            throw .device(error, path: name)
        }
        return header.generation
    }
}
