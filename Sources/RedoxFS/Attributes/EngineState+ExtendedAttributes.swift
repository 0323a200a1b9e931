// Extended attributes: decoded as a whole when they are first asked for, written anew as a whole when one changes. One
// name is special: `user.saltbridge.record_size` is the size of the records of a file, and on a directory the size for
// files created below it.

import DiskFormat
import Platform

/// What a new node gets from its directory.
struct InheritedAttributes: Sendable {
    /// The record level of files.
    var recordLevel: UInt32
    /// The attribute's value.
    var value: [UInt8]
}

/// The attribute that sets the size of records.
enum RecordSizeAttribute {
    static let name: [UInt8] = Array("user.saltbridge.record_size".utf8)

    /// The level of a value in decimal digits; nil if it is none of 4096, 8192, ... 131072.
    static func level(_ value: RawSpan) -> UInt32? {
        guard value.byteCount > 0, value.byteCount <= 6 else { return nil }
        var size = 0
        for index in 0..<value.byteCount {
            let digit = Int(value.u8(at: index)) - 0x30
            guard (0...9).contains(digit) else { return nil }
            size = size * 10 + digit
        }
        for level in 0...Limits.maximumRecordLevel where Limits.blockSize << Int(level) == size { return level }
        return nil
    }

    /// The value of a level.
    static func value(_ level: UInt32) -> [UInt8] { Array(String(Limits.blockSize << Int(min(level, 5))).utf8) }
}

extension EngineState {
    /// Makes sure that a node's attributes are in memory, or that it has none.
    mutating func requireAttributes(_ id: NodeID, _ slot: Slot) throws(Fault) {
        guard attributeSets[id.rawValue] == nil else { return }
        let pointer = NodeExtension.attributes(blocks.buffer(slot).bytes)
        if !pointer.isNull { throw .attributes(id, pointer) }
    }

    /// The attributes of a node.
    mutating func attributeSet(_ id: NodeID) throws(Fault) -> AttributeSet {
        let slot = try node(id)
        try requireAttributes(id, slot)
        return attributeSets[id.rawValue] ?? AttributeSet()
    }

    /// What a directory passes on.
    mutating func inheritedAttributes(_ directory: NodeID) throws(Fault) -> InheritedAttributes? {
        let set = try attributeSet(directory)
        let name = RecordSizeAttribute.name
        guard let index = set.index(of: name.rawBytes), case .inline(let value) = set.entries[index].value,
            let level = RecordSizeAttribute.level(value.rawBytes)
        else { return nil }
        return InheritedAttributes(recordLevel: level, value: value)
    }

    /// Passes a directory's attribute on to a new one.
    mutating func inherit(_ id: NodeID, _ inherited: InheritedAttributes) {
        var set = AttributeSet()
        set.entries = [AttributeEntry(name: RecordSizeAttribute.name, value: .inline(inherited.value))]
        storeAttributes(id, set)
    }

    /// Sets or removes an attribute; nil removes.
    mutating func setAttribute(
        _ id: NodeID, _ name: [UInt8], _ value: AttributeValue?, mustExist: Bool, mustNotExist: Bool,
        _ context: inout RequestContext
    ) throws(Fault) {
        var set = try attributeSet(id)
        let index = set.index(of: name.rawBytes)
        if index == nil, mustExist { throw .failed(.noAttribute) }
        if index != nil, mustNotExist { throw .failed(.attributeExists) }
        var freed: [BlockAddress] = []
        if let index {
            if case .stored(let pointer, _) = set.entries[index].value { freed.append(pointer.address) }
            if let value {
                set.entries[index].value = value
            } else {
                set.entries.remove(at: index)
            }
        } else if let value {
            set.entries.append(AttributeEntry(name: name, value: value))
        }
        let slot = try touchNode(id)
        let (demand, objects) = set.demand()
        plan.extra += demand
        plan.extra -= set.reserved
        plan.extraObjects += objects - set.reservedObjects
        try secure(isFreeing: value == nil)
        applyPlan()
        for address in freed {
            space.free(address)
            addBlocks(slot, -(1 &<< address.level))
        }
        storeAttributes(id, set)
        setTimes(slot, change: context.time)
        noteChange(&context)
    }

    /// Keeps changed attributes for the next commit and promises them their blocks. The node is dirty.
    private mutating func storeAttributes(_ id: NodeID, _ changed: AttributeSet) {
        var set = changed
        let (demand, objects) = set.demand()
        guard let slot = blocks.findNode(id.rawValue) else { return }
        let before = set.isDirty ? set.reserved.blockCount : set.tables.reduce(0) { $0 + (1 << $1.level) }
        addBlocks(slot, demand.blockCount - before)
        space.release(set.reserved, objects: set.reservedObjects)
        space.reserve(demand, objects: objects)
        set.reserved = demand
        set.reservedObjects = objects
        let wasDirty = set.isDirty
        set.isDirty = true
        if !wasDirty { attributeSets.remove(id.rawValue) }
        attributeSets.set(id.rawValue, set)
    }

    /// Frees the attributes of a node that goes.
    mutating func dropAttributes(_ id: NodeID) {
        guard let set = attributeSets[id.rawValue] else { return }
        if set.isDirty { space.release(set.reserved, objects: set.reservedObjects) }
        for address in set.tables { space.free(address) }
        for entry in set.entries {
            if case .stored(let pointer, _) = entry.value { space.free(pointer.address) }
        }
        attributeSets.remove(id.rawValue)
    }

    /// Takes over attributes that were read, if they are still the node's.
    mutating func take(_ id: NodeID, _ pointer: BlockPointer, _ set: AttributeSet) {
        guard attributeSets[id.rawValue] == nil, let slot = blocks.findNode(id.rawValue),
            NodeExtension.attributes(blocks.buffer(slot).bytes) == pointer
        else { return }
        attributeSets.set(id.rawValue, set)
    }
}
