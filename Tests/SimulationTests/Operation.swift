import BlockDevice
import DiskFormat
import RedoxFS
import TestSupport

/// One step of a random run. Names are bytes; nodes are the engine's numbers, known from earlier steps.
enum Operation {
    case create(parent: NodeID, name: [UInt8], kind: NodeKind, mode: UInt16, device: UInt32)
    case symbolicLink(parent: NodeID, name: [UInt8], target: [UInt8])
    case unnamed(parent: NodeID, mode: UInt16)
    case link(node: NodeID, parent: NodeID, name: [UInt8])
    case unlink(parent: NodeID, name: [UInt8])
    case removeDirectory(parent: NodeID, name: [UInt8])
    case rename(parent: NodeID, name: [UInt8], newParent: NodeID, newName: [UInt8], flags: RenameFlags)
    case write(node: NodeID, offset: UInt64, bytes: [UInt8])
    case read(node: NodeID, offset: UInt64, count: Int)
    case truncate(node: NodeID, size: UInt64)
    case allocate(node: NodeID, mode: AllocateMode, offset: UInt64, length: UInt64)
    case seek(node: NodeID, offset: UInt64)
    case changeMode(node: NodeID, mode: UInt16)
    case changeOwner(node: NodeID, uid: UInt32, gid: UInt32)
    case changeTimes(node: NodeID, atime: Timespec, mtime: Timespec)
    case setAttribute(node: NodeID, name: [UInt8], value: [UInt8])
    case removeAttribute(node: NodeID, name: [UInt8])
    case open(node: NodeID)
    case close(node: NodeID)
    case list(node: NodeID)
    case lookup(parent: NodeID, name: [UInt8])
    case commit
    case reopen
}

/// How often what is done and how large things get.
struct Mix {
    /// Files grow to about this many bytes.
    var fileSize: UInt64 = 600_000
    /// One write has up to this many bytes.
    var writeSize = 200_000
    /// Names are drawn from this many.
    var names = 40
    /// One of so many steps is a commit.
    var commitEvery = 60
    /// One of so many steps closes the image and opens it again.
    var reopenEvery = 600
    /// One of so many writes goes to an offset of terabytes; 0: none.
    var farEvery = 50
}

/// Draws operations that make sense in the model's present state, and now and then some that do not.
struct OperationSource {
    var random: SeededGenerator
    let mix: Mix

    init(seed: UInt64, mix: Mix) {
        random = SeededGenerator(seed: seed)
        self.mix = mix
    }

    mutating func next(_ model: Model) -> Operation {
        if chance(mix.commitEvery) { return .commit }
        if chance(mix.reopenEvery) { return .reopen }
        switch below(100) {
        case 0..<14: return creation(model)
        case 14..<34: return writing(model)
        case 34..<42: return .read(node: file(model), offset: offset(), count: below(mix.writeSize) + 1)
        case 42..<48: return .truncate(node: file(model), size: offset())
        case 48..<53: return allocation(model)
        case 53..<55: return .seek(node: file(model), offset: offset())
        case 55..<63: return .unlink(parent: directory(model), name: name(model))
        case 63..<66: return .removeDirectory(parent: directory(model), name: name(model))
        case 66..<75: return renaming(model)
        case 75..<79: return .link(node: any(model), parent: directory(model), name: name(model))
        case 79..<84: return attributes(model)
        case 84..<89: return extendedAttributes(model)
        case 89..<93: return opening(model)
        case 93..<96: return .list(node: directory(model))
        default: return .lookup(parent: directory(model), name: name(model))
        }
    }

    // MARK: - Kinds

    private mutating func creation(_ model: Model) -> Operation {
        let parent = directory(model)
        let name = name(model)
        let mode = UInt16(below(0o1000))
        switch below(12) {
        case 0..<6: return .create(parent: parent, name: name, kind: .file, mode: mode, device: 0)
        case 6..<8: return .create(parent: parent, name: name, kind: .directory, mode: mode, device: 0)
        case 8: return .symbolicLink(parent: parent, name: name, target: bytes(count: 1 + below(200), style: 1))
        case 9: return .unnamed(parent: parent, mode: mode)
        case 10:
            let kind: NodeKind = below(2) == 0 ? .fifo : .socket
            return .create(parent: parent, name: name, kind: kind, mode: mode, device: 0)
        default:
            let kind: NodeKind = below(2) == 0 ? .characterDevice : .blockDevice
            return .create(parent: parent, name: name, kind: kind, mode: mode, device: UInt32(below(0xFFFF)))
        }
    }

    private mutating func writing(_ model: Model) -> Operation {
        let count = below(3) == 0 ? 1 + below(mix.writeSize) : 1 + below(5000)
        let far = mix.farEvery > 0 && chance(mix.farEvery)
        let start = far ? UInt64(below(36)) << 40 | UInt64(below(1 << 30)) : offset()
        return .write(node: file(model), offset: start, bytes: bytes(count: count, style: below(3)))
    }

    private mutating func allocation(_ model: Model) -> Operation {
        let modes: [AllocateMode] = [
            .punchHole, .zeroRange(keepSize: true), .zeroRange(keepSize: false), .reserve(keepSize: true),
            .reserve(keepSize: false),
        ]
        return .allocate(
            node: file(model), mode: modes[below(modes.count)], offset: offset(),
            length: 1 + UInt64(below(mix.writeSize)))
    }

    private mutating func renaming(_ model: Model) -> Operation {
        let flags: [RenameFlags] = [[], [], [], [.noReplace], [.exchange]]
        return .rename(
            parent: directory(model), name: name(model), newParent: directory(model), newName: name(model),
            flags: flags[below(flags.count)])
    }

    private mutating func attributes(_ model: Model) -> Operation {
        let node = any(model)
        switch below(3) {
        case 0: return .changeMode(node: node, mode: UInt16(below(0o10000)))
        case 1: return .changeOwner(node: node, uid: UInt32(below(5)), gid: UInt32(below(5)))
        default: return .changeTimes(node: node, atime: time(), mtime: time())
        }
    }

    private mutating func extendedAttributes(_ model: Model) -> Operation {
        let node = any(model)
        let name = Array("user.attribute-\(below(6))".utf8)
        if below(4) == 0 { return .removeAttribute(node: node, name: name) }
        let count = below(8) == 0 ? below(65537) : below(300)
        return .setAttribute(node: node, name: name, value: bytes(count: count, style: below(3)))
    }

    private mutating func opening(_ model: Model) -> Operation {
        let open = model.nodes.filter { $0.value.opens > 0 }.keys.sorted { $0.rawValue < $1.rawValue }
        if !open.isEmpty, open.count > 6 || below(2) == 0 { return .close(node: open[below(open.count)]) }
        return .open(node: file(model))
    }

    // MARK: - Things to act on

    private mutating func pick(_ candidates: [NodeID]) -> NodeID {
        candidates.isEmpty ? .root : candidates[below(candidates.count)]
    }

    private mutating func any(_ model: Model) -> NodeID {
        pick(model.nodes.keys.sorted { $0.rawValue < $1.rawValue })
    }

    private mutating func directory(_ model: Model) -> NodeID {
        if chance(200) { return any(model) }
        return pick(
            model.nodes.filter { $0.value.kind == .directory && $0.value.links > 0 }.keys.sorted {
                $0.rawValue < $1.rawValue
            })
    }

    private mutating func file(_ model: Model) -> NodeID {
        let files = model.nodes.filter { $0.value.kind == .file }.keys.sorted { $0.rawValue < $1.rawValue }
        return files.isEmpty ? any(model) : pick(files)
    }

    private mutating func name(_ model: Model) -> [UInt8] {
        if chance(150) { return Array(repeating: UInt8(ascii: "x"), count: 250 + below(5)) }
        let number = below(mix.names)
        // Two names whose hashes collide in 32 bits, among ordinary ones of several lengths.
        if number < collidingNames.count { return Array(collidingNames[number].utf8) }
        return Array("n\(number)\(String(repeating: "-", count: number % 7 * 9))".utf8)
    }

    private mutating func offset() -> UInt64 {
        switch below(5) {
        case 0: return UInt64(below(8000))
        case 1: return UInt64(below(6)) * 131_072 + UInt64(below(3))
        case 2: return UInt64(below(Int(mix.fileSize / 4096))) * 4096
        default: return UInt64(below(Int(mix.fileSize)))
        }
    }

    private mutating func time() -> Timespec {
        Timespec(seconds: Int64(below(1 << 34)) - (1 << 32), nanoseconds: UInt32(below(1_000_000_000)))
    }

    /// Style 0: random, 1: text that compresses, 2: zeros with a few bytes set.
    private mutating func bytes(count: Int, style: Int) -> [UInt8] {
        switch style {
        case 0: return noise(count, seed: random.next())
        case 1:
            let letter = UInt8(97 + below(26))
            return (0..<count).map { letter &+ UInt8(truncatingIfNeeded: $0 % 11) }
        default:
            var result = [UInt8](repeating: 0, count: count)
            for _ in 0..<min(count, 3) { result[below(count)] = UInt8(below(256)) }
            return result
        }
    }

    private mutating func below(_ bound: Int) -> Int { bound <= 1 ? 0 : Int(random.next() % UInt64(bound)) }
    private mutating func chance(_ oneOf: Int) -> Bool { below(oneOf) == 0 }
}
