import BlockDevice
import DiskFormat
import FileSystemCheck
import RedoxFS
import Testing

/// A disagreement between engine and model: what was done and what each of the two says.
struct Disagreement: Error, CustomStringConvertible {
    var description: String
}

/// Applies operations to a file system and to the model and holds them against each other after every step.
struct Driver {
    private(set) var fileSystem: FileSystem
    var model: Model
    private(set) var step: UInt64 = 0
    /// How many steps failed for want of space: a small disk's run must have some.
    private(set) var outOfSpace = 0
    let device: any BlockDevice
    let options: OpenOptions
    /// Called after every commit, with the image as it is on the device.
    var afterCommit: (borrowing Driver) throws -> Void = { _ in }
    /// Called before every commit.
    var beforeCommit: (borrowing Driver) throws -> Void = { _ in }
    /// Called after every reopening.
    var afterReopen: (borrowing Driver) throws -> Void = { _ in }
    /// Whether a commit of its own comes before each close, so that every generation's content is known.
    var commitsBeforeClose = false
    /// Whether errors of the disk are thrown as they are instead of as a disagreement.
    var toleratesFaults = false
    /// Whether a commit has failed: what it had sealed then is written before anything later.
    private(set) var hasFailedCommit = false
    /// The newest generation that was acknowledged.
    private(set) var generation: Generation

    init(device: any BlockDevice, options: OpenOptions, format: FormatOptions?) throws {
        self.device = device
        self.options = options
        if let format { try FileSystem.format(device, format) }
        fileSystem = try FileSystem(opening: device, options: options)
        let root = try fileSystem.attributes(.root)
        generation = fileSystem.statistics().generation
        model = Model(rootMode: root.mode, uid: root.uid, gid: root.gid, time: root.mtime)
    }

    private func context() -> RequestContext {
        RequestContext(time: now, uid: UInt32(step % 3), gid: UInt32(step % 4))
    }

    private var now: Timespec {
        Timespec(seconds: 1_700_000_000 + Int64(step), nanoseconds: UInt32(step % 1000) * 999_999)
    }

    mutating func apply(_ operation: Operation) throws {
        step += 1
        var context = context()
        switch operation {
        case .commit: try commit(&context)
        case .reopen: try reopen()
        case .create(let parent, let name, let kind, let mode, let device):
            let made = try call("create \(Text(name)) in \(parent)", expectNew(parent, name)) {
                try $0.create(parent, name.rawBytes, kind: kind, mode: mode, device: device, &context)
            }
            if let made { try add(made, parent, name, kind, mode, device: device, target: [], context) }
        case .symbolicLink(let parent, let name, let target):
            let made = try call("symlink \(Text(name)) in \(parent)", expectNew(parent, name)) {
                try $0.createSymbolicLink(parent, name.rawBytes, target: target.rawBytes, &context)
            }
            if let made { try add(made, parent, name, .symbolicLink, 0o777, device: 0, target: target, context) }
        case .unnamed(let parent, let mode): try unnamed(parent, mode, &context)
        case .link(let node, let parent, let name): try link(node, parent, name, &context)
        case .unlink(let parent, let name): try remove(parent, name, directory: false, &context)
        case .removeDirectory(let parent, let name): try remove(parent, name, directory: true, &context)
        case .rename(let parent, let name, let newParent, let newName, let flags):
            try rename(parent, name, newParent, newName, flags, &context)
        case .lookup(let parent, let name): try lookup(parent, name)
        case .list(let node): try list(node)
        case .open(let node): try open(node)
        case .close(let node): try close(node, &context)
        default: try applyToContent(operation, &context)
        }
    }

    // MARK: - Calls and comparison

    /// Makes the call. Nil if it failed as it may, or for want of space; throws if it did what the model says it must not.
    mutating func call<Result>(
        _ what: @autoclosure () -> String, _ expectation: Expectation, _ body: (FileSystem) throws -> Result
    ) throws -> Result? {
        do {
            let result = try body(fileSystem)
            if case .failure(let numbers) = expectation {
                throw Disagreement(description: "step \(step): \(what()) succeeded, expected errno in \(numbers)")
            }
            return result
        } catch let error as FileSystemError {
            if case .failure(let numbers) = expectation, numbers.contains(error.errno.rawValue) { return nil }
            if error.errno == .noSpace {
                outOfSpace += 1
                return nil
            }
            if toleratesFaults, error.errno == .ioError { throw error }
            throw Disagreement(
                description: "step \(step): \(what()) failed: \(error) (\(error.errno)), expected \(expectation)")
        }
    }

    /// Holds a condition, or says which step broke it.
    func hold(_ condition: Bool, _ what: @autoclosure () -> String) throws {
        if !condition { throw Disagreement(description: "step \(step): \(what())") }
    }

    private mutating func commit(_ context: inout RequestContext) throws {
        try beforeCommit(self)
        let generation: Generation?
        do {
            generation = try call("commit", .success) { try $0.commit() }
        } catch {
            hasFailedCommit = true
            throw error
        }
        guard let generation else { throw Disagreement(description: "step \(step): a commit ran out of space") }
        self.generation = generation
        try afterCommit(self)
    }

    /// A commit outside the row of operations.
    mutating func commitNow() throws {
        step += 1
        var context = context()
        try commit(&context)
    }

    private mutating func reopen() throws {
        if commitsBeforeClose { try commitNow() }
        try fileSystem.close()
        fileSystem = try FileSystem(opening: device, options: options)
        generation = fileSystem.statistics().generation
        model = model.settled
        try compareTree(fileSystem, model)
        try afterReopen(self)
    }

    /// Compares everything.
    func compareNow() throws { try compareTree(fileSystem, model) }

    /// Compares everything, closes, opens once more, compares again.
    mutating func finish() throws {
        try compareTree(fileSystem, model)
        try reopen()
        try fileSystem.close()
    }
}
