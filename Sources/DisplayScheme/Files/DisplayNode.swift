/// The files of a display, with their numbers in node numbers.
enum DisplayFile: UInt64, CaseIterable {
    case info = 1
    case size = 2
    case frame = 3
    case damage = 4
    case picture = 5
    case cursor = 6
    case input = 7
    case rawInput = 8
    case text = 9
    case clipboard = 10

    var name: String {
        switch self {
        case .frame: "fb"
        case .picture: "screen.png"
        case .rawInput: "input.raw"
        default: "\(self)"
        }
    }

    /// Permission bits, before those of the display are taken into account.
    var permissions: UInt32 {
        switch self {
        case .info, .picture: 0o444
        case .damage: 0o222
        default: 0o666
        }
    }
}

/// What a node number means.
///
///     bits 44...46   0: the folders of the root (1 root, 2 window, 3 windows)
///                    1: a display's folder (file 0) or file: generation << 16 | number << 8 | file
///                    2: a window by its path; 3: its pixels in `windows`: version << 32 | number
///                    4: a folder on the way to a window, by a hash of its path
///                    5: a display's clipboard: number << 32 | generation
///     bit 47         a display's pixels: number << 44 | generation << 26 | width - 1 << 13 | height - 1
///
/// With its write-back cache the kernel knows a regular file's size better than its server: it takes the size from the first look-up, and
/// changes it as programs write and truncate. What has another size than the kernel may think is therefore another file: the next look-up
/// gives another number (size, generation or version). The number of before stays good for who has it open.
enum DisplayNode: Equatable {
    case root
    case windowFolder
    case windowList
    /// A display's folder, or any of its files but the pixels.
    case display(Int, generation: UInt32, DisplayFile?)
    case frame(Int, generation: UInt32, PixelSize)
    case clipboard(Int, generation: UInt32)
    case window(UInt32)
    case windowPixels(UInt32, version: UInt32)
    case pathFolder(UInt64)

    private static let kindShift: UInt64 = 44
    private static let hashMask: UInt64 = 1 << 44 - 1
    private static let frameBit: UInt64 = 1 << 47
    /// The bits of a generation that count in the number of a display's folder and most of its files.
    static let generationMask: UInt32 = 0xfff_ffff
    /// Those in the number of its pixels.
    static let frameMask: UInt32 = 0x3_ffff
    /// The bits of a version in the number of a window's pixels.
    static let versionMask: UInt32 = 0xfff

    /// The number.
    var number: UInt64 {
        switch self {
        case .root: 1
        case .windowFolder: 2
        case .windowList: 3
        case .display(let number, let generation, let file):
            1 << Self.kindShift | UInt64(generation & Self.generationMask) << 16 | UInt64(number) << 8
                | (file?.rawValue ?? 0)
        case .frame(let number, let generation, let size):
            Self.frameBit | UInt64(number) << 44 | UInt64(generation & Self.frameMask) << 26
                | UInt64(size.width - 1) << 13 | UInt64(size.height - 1)
        case .clipboard(let number, let generation): 5 << Self.kindShift | UInt64(number) << 32 | UInt64(generation)
        case .window(let id): 2 << Self.kindShift | UInt64(id)
        case .windowPixels(let id, let version):
            3 << Self.kindShift | UInt64(version & Self.versionMask) << 32 | UInt64(id)
        case .pathFolder(let hash): 4 << Self.kindShift | hash & Self.hashMask
        }
    }

    /// From a number; nil if it can't be one.
    init?(_ number: UInt64) {
        let low = number & Self.hashMask
        if number & Self.frameBit != 0 {
            guard number >> 48 == 0,
                let size = PixelSize(width: Int(low >> 13 & 0x1fff) + 1, height: Int(low & 0x1fff) + 1)
            else { return nil }
            self = .frame(Int(number >> 44 & 7), generation: UInt32(low >> 26), size)
            return
        }
        switch number >> Self.kindShift {
        case 0:
            switch low {
            case 1: self = .root
            case 2: self = .windowFolder
            case 3: self = .windowList
            default: return nil
            }
        case 1:
            let display = Int(low >> 8 & 0xff)
            guard display < DisplayMemory.displayCount else { return nil }
            if low & 0xff == 0 {
                self = .display(display, generation: UInt32(low >> 16), nil)
            } else if let file = DisplayFile(rawValue: low & 0xff), file != .frame, file != .clipboard {
                self = .display(display, generation: UInt32(low >> 16), file)
            } else {
                return nil
            }
        case 2:
            guard let id = UInt32(exactly: low) else { return nil }
            self = .window(id)
        case 3: self = .windowPixels(UInt32(truncatingIfNeeded: low), version: UInt32(low >> 32))
        case 4: self = .pathFolder(low)
        case 5:
            let display = Int(low >> 32)
            guard display < DisplayMemory.displayCount else { return nil }
            self = .clipboard(display, generation: UInt32(truncatingIfNeeded: low))
        default: return nil
        }
    }

    /// The display whose folder or file this is, and which file.
    var display: (number: Int, file: DisplayFile?)? {
        switch self {
        case .display(let number, _, let file): (number, file)
        case .frame(let number, _, _): (number, .frame)
        case .clipboard(let number, _): (number, .clipboard)
        default: nil
        }
    }

    /// The window whose pixels this is.
    var window: UInt32? {
        switch self {
        case .window(let id), .windowPixels(let id, _): id
        default: nil
        }
    }

    /// The folder of a part of a window's path.
    static func folder(_ path: [String]) -> DisplayNode {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for part in path {
            for byte in part.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
            hash = (hash ^ 0x2f) &* 0x100_0000_01b3
        }
        return .pathFolder((hash ^ hash >> 44) & hashMask)
    }
}
