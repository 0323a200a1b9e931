import BlockCodec
import BlockDevice
import DiskFormat
import Platform

/// Changes the passwords that open an encrypted file system: its 64 key slots.
///
/// The new slots are written with a header of the next generation first; then the headers of all older generations get
/// them too, so that a password that was taken away opens none of them.
public struct PasswordChange: Sendable {
    /// What to do with the slots of the password that opened the file system.
    public enum Action: Sendable {
        /// Another password shall open it as well.
        case add(new: [UInt8])
        /// Another password shall open it instead.
        case change(new: [UInt8])
        /// The password shall not open it any more.
        case remove
    }

    private let store: HeaderStore
    private let name: String

    /// - Parameters:
    ///   - device: open for writing, unless only the slots are counted.
    ///   - name: of the image, for messages.
    public init(_ device: any BlockDevice, name: String) throws(ToolFailure) {
        self.name = name
        do throws(BlockDeviceError) {
            guard let store = try HeaderStore(device) else {
                throw BlockDeviceError.unsupported(.open)
            }
            self.store = store
        } catch .unsupported {
            throw ToolFailure("no RedoxFS found in \(name)")
        } catch {
            throw .device(error, path: name)
        }
    }

    /// How many passwords there are.
    public var slotCount: Int { KeySlots.usedCount(store.newest) }

    /// Throws unless the file system is encrypted: there is nothing to ask for then.
    public func requireEncryption() throws(ToolFailure) {
        guard HeaderRing.isEncrypted(store.headers) else {
            throw ToolFailure(
                "\(name) is not encrypted", advice: "`saltbridge clone --encrypt` makes an encrypted copy.")
        }
    }

    /// Does it.
    ///
    /// - Parameter password: one that opens the file system now.
    /// - Returns: the number of passwords afterwards.
    public func run(_ action: Action, password: [UInt8]) throws(ToolFailure) -> Int {
        try requireEncryption()
        var header = store.newest
        let (slots, found) = try self.slots(of: password)
        guard let cipher = found else { throw ToolFailure("\(name): wrong password") }
        switch action {
        case .add(let new):
            guard try self.slots(of: new).numbers.isEmpty else {
                throw ToolFailure("\(name): this password opens it already")
            }
            let added = try slotOf(new, cipher)
            _ = try checked { () throws(CodecError) in try KeySlots.add(added, to: &header) }
        case .change(let new):
            let taken = new == password ? [] : try self.slots(of: new).numbers
            guard taken.isEmpty else {
                throw ToolFailure(
                    "\(name): the new password opens it already", advice: "--remove takes the old one away.")
            }
            for slot in slots { header.setKeySlot(slot, KeySlot()) }
            header.setKeySlot(slots[0], try slotOf(new, cipher))
        case .remove:
            guard KeySlots.usedCount(header) > slots.count else {
                throw ToolFailure(
                    "\(name): this is the only password", advice: "Add another one first, or change it.")
            }
            for slot in slots { header.setKeySlot(slot, KeySlot()) }
        }
        try write(header, cipher)
        return KeySlots.usedCount(header)
    }

    /// All slots that a password opens: other programs may have given it several. And the cipher, nil if there is none.
    private func slots(of password: [UInt8]) throws(ToolFailure) -> (numbers: [Int], cipher: BlockCipher?) {
        var numbers: [Int] = []
        var cipher: BlockCipher?
        for index in 0..<Limits.keySlotCount where !store.newest.keySlot(index).isUnused {
            // The header as if it had this slot alone.
            var header = store.newest
            for other in 0..<Limits.keySlotCount where other != index { header.setKeySlot(other, KeySlot()) }
            let found = try checked { () throws(CodecError) in
                try KeySlots.unlock(header, among: store.headers, password: password)
            }
            guard let found else { continue }
            numbers.append(index)
            cipher = found.cipher
        }
        return (numbers, cipher)
    }

    private func slotOf(_ password: [UInt8], _ cipher: BlockCipher) throws(ToolFailure) -> KeySlot {
        let salt = try RandomBytes.sixteen()
        return try checked { () throws(CodecError) in
            try KeySlots.make(password: password, salt: salt, key1: cipher.keys.data, key2: cipher.keys.tweak)
        }
    }

    private func write(_ changed: Header, _ cipher: BlockCipher) throws(ToolFailure) {
        var next = changed
        next.generation = changed.generation.next
        next.setHeaderExtension(changed.headerExtension)
        try checked { () throws(CodecError) in try next.seal(with: cipher) }
        do throws(BlockDeviceError) {
            try store.writeDurably(next)
        } catch {
            throw .device(error, path: name)
        }
        for header in store.headers where header.generation.ringBlock != next.generation.ringBlock {
            var header = header
            for index in 0..<Limits.keySlotCount { header.setKeySlot(index, next.keySlot(index)) }
            try checked { () throws(CodecError) in try header.seal(with: cipher) }
            do throws(BlockDeviceError) {
                try store.write(header)
            } catch {
                throw .device(error, path: name)
            }
        }
        do throws(BlockDeviceError) {
            try store.flush()
        } catch {
            throw .device(error, path: name)
        }
    }

    private func checked<Result>(_ body: () throws(CodecError) -> Result) throws(ToolFailure) -> Result {
        do throws(CodecError) {
            return try body()
        } catch {
            throw ToolFailure("\(name): \(error)")
        }
    }
}
