// Which number a new node gets.
//
// A client may still ask for a node that another one has just removed: it found the name a moment before. If the number were another
// file's already, he would be given that one. So numbers go round: the search begins behind the number that was given last, and a
// number comes back only when the others in between have been given.

import DiskFormat

extension EngineState {
    /// Up to this number the tree grows rather than give a number again. A small image has no room for that.
    private var roundTrip: UInt64 { min(65_536, blockCount / 64) }

    /// A free number: the first one from where the search goes on, or the first of all.
    mutating func freeNode() throws(Fault) -> NodeID {
        if let found = try freeNode(from: nextNode), !found.isNew || UInt64(found.node.rawValue) < roundTrip {
            return found.node
        }
        guard let found = try freeNode(from: 0) else { throw .failed(.noSpace) }
        return found.node
    }

    /// The first free number from `start` on, and whether it needs a new tree block; nil if there is none up to the end.
    private mutating func freeNode(from start: UInt32) throws(Fault) -> (node: NodeID, isNew: Bool)? {
        // Number 0 is nobody's.
        var wanted = NodeID(max(start, 1))
        while true {
            switch try descend(toward: wanted) {
            case .free(let node, let isNew): return (node, isNew)
            case .nothing(let level):
                guard let next = wanted.next(behind: level) else { return nil }
                wanted = next
            }
        }
    }

    private enum Descent {
        case free(NodeID, isNew: Bool)
        /// From the number on there is nothing in the block of this level on the way to it.
        case nothing(Int)
    }

    private mutating func descend(toward wanted: NodeID) throws(Fault) -> Descent {
        var pointer = root
        var indices = [0, 0, 0, 0]
        // The way so far is the wanted number's: below it only what isn't less is free for us.
        var isOnTheWay = true
        var isNew = false
        for level in (0..<TreeBlock.levelCount).reversed() {
            let first = isOnTheWay ? wanted.treeIndex(level: level) : 0
            if pointer.isNull {
                guard first < TreeBlock.pointerCount else { return .nothing(level) }
                indices[3 &- level] = first
                isNew = true
                continue
            }
            let slot = try block(pointer, .tree(level: level), owner: 0)
            let bytes = blocks.buffer(slot).bytes
            guard let index = TreeBlock.firstFree(bytes, from: first) else {
                // What isn't full has something free.
                guard isOnTheWay else {
                    throw .corrupt(.tree, .value, block: pointer.address.number, at: TreeBlock.bitmapOffset)
                }
                return .nothing(level)
            }
            isOnTheWay = isOnTheWay && index == first
            indices[3 &- level] = index
            pointer = TreeBlock.pointer(bytes, index)
        }
        return .free(NodeID(indices: (indices[0], indices[1], indices[2], indices[3])), isNew: isNew)
    }
}

extension NodeID {
    /// The first number behind those in the tree block of a level on the way to this one; nil if there is none.
    fileprivate func next(behind level: Int) -> NodeID? {
        let shift = UInt32(truncatingIfNeeded: (level &+ 1) &* 8)
        guard shift < 32 else { return nil }
        let (sum, overflow) = (rawValue &>> shift).addingReportingOverflow(1)
        guard !overflow, sum <= UInt32.max &>> shift else { return nil }
        return NodeID(sum &<< shift)
    }
}
