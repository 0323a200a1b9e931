import DiskFormat
import Testing

/// Whether a disk is encrypted, which no hash covers in any one header.
@Suite struct EncryptionClaims {
    private static func header(_ generation: UInt64, hasSlot: Bool, isEncrypted: Bool) -> Header {
        var header = Header(uuid: Bytes16(low: 1, high: 2), byteCount: 1 << 24, generation: Generation(generation))
        if hasSlot { header.setKeySlot(3, KeySlot(salt: Bytes16(low: 4, high: 5))) }
        header.seal()
        if isEncrypted { header.setEncryptedHash(Bytes16(low: 6, high: 7)) }
        return header
    }

    private static let plain = header(1, hasSlot: false, isEncrypted: false)
    private static let encrypted = header(2, hasSlot: true, isEncrypted: true)
    /// A claim that no password can meet.
    private static let slotless = header(3, hasSlot: false, isEncrypted: true)
    private static let denial = header(4, hasSlot: true, isEncrypted: false)

    @Test func slotsAreSeen() {
        #expect(Self.encrypted.hasKeySlots && Self.denial.hasKeySlots)
        #expect(!Self.plain.hasKeySlots && !Self.slotless.hasKeySlots)
    }

    @Test func soundHeadersAreBelieved() {
        #expect(!HeaderRing.isEncrypted([]))
        #expect(!HeaderRing.isEncrypted([Self.plain]))
        #expect(HeaderRing.isEncrypted([Self.encrypted]))
    }

    @Test func oneDamagedHeaderDecidesNothing() {
        #expect(!HeaderRing.isEncrypted([Self.slotless]))
        #expect(!HeaderRing.isEncrypted([Self.plain, Self.slotless]))
        #expect(!HeaderRing.isEncrypted([Self.plain, Self.plain, Self.encrypted]))
        #expect(HeaderRing.isEncrypted([Self.encrypted, Self.denial]))
        #expect(HeaderRing.isEncrypted([Self.denial, Self.encrypted, Self.encrypted]))
    }
}
