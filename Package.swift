// swift-tools-version: 6.2
import PackageDescription

// Modules import only downwards; Scripts/check-layering holds this list against the sources' imports.

/// What every module is compiled with: all warnings are errors, unsafe constructs must be marked `unsafe`.
let common: [SwiftSetting] = [
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableExperimentalFeature("Lifetimes"),
]

/// For code that is nothing but calls of the C library, where every line would be marked.
let callsOfC: [SwiftSetting] = [.treatAllWarnings(as: .error)]

let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let systemPackage: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")

func module(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: common)
}

/// A scheme server: an executable of its own that starts in milliseconds, so statically linked.
func scheme(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(
        name: "scheme-\(name.lowercased())", dependencies: dependencies, path: "Schemes/\(name)",
        swiftSettings: common, linkerSettings: [.unsafeFlags(["-static-executable"])])
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: "\(name)Tests", dependencies: dependencies, swiftSettings: common)
}

func library(_ name: String, package: String, provider: String) -> Target {
    .systemLibrary(
        name: name, path: "Sources/CLibraries/\(name)", pkgConfig: package, providers: [.apt([provider])])
}

let package = Package(
    name: "saltbridge",
    products: [
        .executable(name: "saltbridge", targets: ["saltbridge"]),
        .library(name: "RedoxFS", targets: ["RedoxFS"]),
        .library(name: "FileSystemCheck", targets: ["FileSystemCheck"]),
        .library(name: "SchemeKit", targets: ["SchemeKit"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    ],
    targets: [
        // C libraries.
        .target(name: "CLinux", path: "Sources/CLibraries/CLinux"),
        library("CLZ4", package: "liblz4", provider: "liblz4-dev"),
        library("CCrypto", package: "libcrypto", provider: "libssl-dev"),
        library("CZstd", package: "libzstd", provider: "libzstd-dev"),
        library("CArgon2", package: "libargon2", provider: "libargon2-dev"),
        .target(name: "CConsoleFont", path: "Sources/CLibraries/CConsoleFont"),
        library("CPNG", package: "libpng", provider: "libpng-dev"),
        library("CZlib", package: "zlib", provider: "zlib1g-dev"),
        library("CCares", package: "libcares", provider: "libc-ares-dev"),
        library("CTLS", package: "libssl", provider: "libssl-dev"),
        library("CMount", package: "mount", provider: "libmount-dev"),
        library("CNBD", package: "libnbd", provider: "libnbd-dev"),
        library("CFuse3", package: "fuse3", provider: "libfuse3-dev"),

        // The file system.
        module("Platform", ["CLinux", systemPackage]),
        module("DiskFormat"),
        module("BlockDevice", ["Platform"]),
        module("NetworkBlockDevice", ["BlockDevice", "Platform", "CNBD", systemPackage]),
        module("BlockCodec", ["DiskFormat", "CLZ4", "CCrypto", "CArgon2"]),
        module("RedoxFS", ["DiskFormat", "BlockDevice", "BlockCodec", "Platform"]),
        module("FileSystemCheck", ["DiskFormat", "BlockDevice", "BlockCodec", "Platform"]),

        // What the command line does with an image, apart from the command line.
        module(
            "ImageTools",
            [
                "RedoxFS", "DiskFormat", "NetworkBlockDevice", "BlockDevice", "BlockCodec", "Platform", "CCrypto",
                systemPackage,
            ]),

        // The running system.
        module("SchemeProtocol"),
        module("SchemeTransport", ["SchemeProtocol", "Platform", systemPackage]),
        module("SchemeKit", ["SchemeTransport", "SchemeProtocol", "Platform", systemPackage]),
        module(
            "FileScheme",
            ["RedoxFS", "BlockDevice", "DiskFormat", "SchemeKit", "SchemeProtocol", "SchemeTransport", "Platform"]),
        module("DiskScheme", ["BlockDevice", "SchemeKit", "SchemeProtocol", "Platform", systemPackage]),
        module(
            "DisplayScheme",
            [
                "SchemeKit", "SchemeProtocol", "SchemeTransport", "Platform", "CConsoleFont", "CPNG", "CZlib",
                "CCrypto",
                systemPackage,
            ]),
        module("Router", ["SchemeTransport", "SchemeProtocol", "Platform", systemPackage]),
        module("FuseBridge", ["Router", "SchemeTransport", "SchemeProtocol", "Platform", "CFuse3", systemPackage]),
        module("Sandbox", ["Platform", "CLinux", systemPackage]),
        module("Supervisor", ["Sandbox", "SchemeTransport", "SchemeProtocol", "Platform", systemPackage]),

        // The scheme servers.
        scheme("Disk", ["DiskScheme", "SchemeKit", "BlockDevice", "Sandbox"]),
        // The disk scheme of remote disks. Its library needs others that can't be linked statically.
        .executableTarget(
            name: "scheme-disk-nbd",
            dependencies: [
                "DiskScheme", "NetworkBlockDevice", "SchemeKit", "SchemeTransport", "BlockDevice", "Sandbox",
                "Platform", systemPackage,
            ],
            path: "Schemes/RemoteDisk", swiftSettings: common,
            linkerSettings: [.unsafeFlags(["-static-stdlib"])]),
        scheme("Pipe", ["SchemeKit", "SchemeProtocol", "Sandbox", "Platform", systemPackage]),
        module(
            "NetworkScheme",
            ["SchemeKit", "SchemeProtocol", "SchemeTransport", "Platform", "CCares", "CTLS", systemPackage]),
        scheme("Network", ["NetworkScheme", "SchemeKit", "Sandbox"]),
        scheme("Small", ["SchemeKit", "SchemeProtocol", "Sandbox", "Platform", systemPackage]),

        .executableTarget(
            name: "scheme-display",
            dependencies: ["DisplayScheme", "SchemeKit", "Sandbox", "Platform", systemPackage],
            path: "Schemes/Display", swiftSettings: common,
            linkerSettings: [.linkedLibrary("z"), .unsafeFlags(["-static-executable"])]),

        // The same small scheme as in C and Python, which the tests build and mount beside it.
        .executableTarget(
            name: "scheme-counter", dependencies: ["SchemeKit", "Sandbox"], path: "Scripts/examples/swift",
            swiftSettings: common, linkerSettings: [.unsafeFlags(["-static-executable"])]),

        // Prints what is derived from the opcode table: the C header, the Python module, a page of the documentation.
        .executableTarget(name: "protocol-header", dependencies: ["SchemeProtocol"], swiftSettings: common),

        // The supervisor's process: small, linked statically, so that its copies for new processes are made quickly.
        .executableTarget(
            name: "saltbridge-supervisor", dependencies: ["Supervisor"], swiftSettings: common,
            linkerSettings: [.unsafeFlags(["-static-executable"])]),
        .executableTarget(
            name: "saltbridge-router",
            dependencies: [
                "FuseBridge", "Router", "Supervisor", "Sandbox", "SchemeKit", "SchemeTransport", "SchemeProtocol",
                "Platform", systemPackage,
            ],
            swiftSettings: common, linkerSettings: [.unsafeFlags(["-static-executable"])]),
        scheme(
            "File",
            [
                "FileScheme", "RedoxFS", "BlockDevice", "DiskFormat", "SchemeKit", "Sandbox", "Platform", systemPackage,
            ]),

        // The command line.
        .executableTarget(
            name: "saltbridge",
            dependencies: [
                "Supervisor", "Sandbox", "SchemeTransport", "SchemeProtocol", "ImageTools", "RedoxFS",
                "FileSystemCheck", "NetworkBlockDevice", "BlockDevice", "BlockCodec", "DiskFormat", "Platform",
                "CMount", "CPNG", argumentParser,
                systemPackage,
            ],
            swiftSettings: common),

        // Benchmarks; Scripts/bench builds and runs them.
        .executableTarget(
            name: "bench-engine",
            dependencies: ["RedoxFS", "FileSystemCheck", "BlockDevice", "DiskFormat", "Platform"],
            path: "Tests/Benchmarks/Engine", swiftSettings: common),
        .executableTarget(
            name: "scheme-hollow", dependencies: ["SchemeKit", "SchemeProtocol", "Sandbox", "Platform"],
            path: "Tests/Benchmarks/Hollow", swiftSettings: common,
            linkerSettings: [.unsafeFlags(["-static-executable"])]),
        .executableTarget(
            name: "bench-recovery", dependencies: ["Supervisor", "Platform", systemPackage],
            path: "Tests/Benchmarks/Recovery", swiftSettings: common),

        // Tests.
        .target(
            name: "TestSupport",
            dependencies: [
                "BlockDevice", "BlockCodec", "DiskFormat", "Platform", "CLinux", "CZstd", "CCrypto", systemPackage,
            ],
            path: "Tests/TestSupport",
            swiftSettings: common),
        tests("Platform", ["Platform", "TestSupport"]),
        tests("DiskFormat", ["DiskFormat", "BlockDevice", "TestSupport"]),
        tests("BlockDevice", ["BlockDevice", "TestSupport"]),
        tests("NetworkBlockDevice", ["NetworkBlockDevice", "BlockDevice", "TestSupport", "Platform", systemPackage]),
        tests("BlockCodec", ["BlockCodec", "BlockDevice", "DiskFormat", "TestSupport"]),
        tests("RedoxFS", ["RedoxFS", "FileSystemCheck", "BlockDevice", "DiskFormat", "Platform", "TestSupport"]),
        tests(
            "FileSystemCheck",
            ["FileSystemCheck", "BlockDevice", "BlockCodec", "DiskFormat", "Platform", "TestSupport"]),
        tests(
            "ImageTools",
            [
                "ImageTools", "RedoxFS", "FileSystemCheck", "BlockDevice", "BlockCodec", "DiskFormat", "Platform",
                "TestSupport",
            ]),
        tests("CommandLine", ["BlockDevice", "Platform", "TestSupport"]),
        .executableTarget(
            name: "escape-suite", dependencies: ["Sandbox", "Platform", "CLinux"], path: "Tests/EscapeSuite",
            swiftSettings: common, linkerSettings: [.unsafeFlags(["-static-executable"])]),
        tests("Sandbox", ["Sandbox", "Platform", "CLinux", systemPackage]),
        tests(
            "FuseBridge",
            [
                "FuseBridge", "Router", "FileScheme", "RedoxFS", "BlockDevice", "DiskFormat", "SchemeKit",
                "SchemeTransport", "SchemeProtocol", "TestSupport", "Platform", "CLinux", systemPackage,
            ]),
        .executableTarget(
            name: "scheme-peer",
            dependencies: ["SchemeKit", "SchemeTransport", "SchemeProtocol", "Platform", "CLinux", systemPackage],
            path: "Tests/SchemePeer", swiftSettings: common),
        tests(
            "NetworkScheme",
            [
                "NetworkScheme", "SchemeKit", "SchemeTransport", "SchemeProtocol", "TestSupport", "Platform", "CTLS",
                systemPackage,
            ]),
        .target(
            name: "SchemeTestSupport",
            dependencies: ["SchemeKit", "SchemeTransport", "SchemeProtocol", "Platform", systemPackage],
            path: "Tests/SchemeTestSupport", swiftSettings: common),
        tests(
            "SchemeTransport",
            ["SchemeKit", "SchemeTransport", "SchemeProtocol", "SchemeTestSupport", "Platform", systemPackage]),
        tests(
            "Example",
            [
                "SchemeKit", "SchemeTransport", "SchemeProtocol", "SchemeTestSupport", "Supervisor", "TestSupport",
                "Platform", systemPackage,
            ]),
        tests(
            "SchemeKit",
            ["SchemeKit", "SchemeTransport", "SchemeProtocol", "SchemeTestSupport", "Platform", systemPackage]),
        tests(
            "Display",
            [
                "DisplayScheme", "SchemeKit", "SchemeProtocol", "Supervisor", "Sandbox", "TestSupport", "Platform",
                "CPNG", "CZlib", systemPackage,
            ]),
        .executableTarget(
            name: "fake-scheme", dependencies: ["Sandbox", "SchemeTransport", "SchemeProtocol", "Platform"],
            path: "Tests/FakeScheme", swiftSettings: common,
            linkerSettings: [.unsafeFlags(["-static-executable"])]),
        tests(
            "Supervisor",
            ["Supervisor", "Sandbox", "SchemeTransport", "SchemeProtocol", "TestSupport", "Platform", systemPackage]),
        tests(
            "Simulation",
            ["RedoxFS", "FileSystemCheck", "BlockDevice", "DiskFormat", "Platform", "TestSupport", systemPackage]),
        tests(
            "Mount",
            [
                "Supervisor", "Sandbox", "SchemeTransport", "RedoxFS", "FileSystemCheck", "BlockDevice", "DiskFormat",
                "Platform", "PosixChecks", "TestSupport", "CLinux", systemPackage,
            ]),
        tests(
            "Router",
            [
                "Router", "SchemeKit", "SchemeTransport", "SchemeProtocol", "SchemeTestSupport", "Platform",
                systemPackage,
            ]),

        // Damaged images; Scripts/fuzz searches for more of them.
        .target(
            name: "FuzzSupport",
            dependencies: [
                "RedoxFS", "FileSystemCheck", "BlockDevice", "BlockCodec", "DiskFormat", "Platform", "TestSupport",
                systemPackage,
            ],
            path: "Tests/Fuzz/Library", swiftSettings: common),
        tests(
            "Fuzz",
            ["FuzzSupport", "RedoxFS", "FileSystemCheck", "BlockDevice", "DiskFormat", "Platform", "TestSupport"]),

        // What a mounted file system has to keep; `posix-checks FOLDER` tries it on any mount.
        .target(name: "CPosix", path: "Tests/PosixChecks/CPosix"),
        .target(
            name: "PosixChecks", dependencies: ["CPosix"], path: "Tests/PosixChecks/Library", swiftSettings: callsOfC),
        .executableTarget(
            name: "posix-checks", dependencies: ["PosixChecks"], path: "Tests/PosixChecks/Command",
            swiftSettings: callsOfC),
        .executableTarget(name: "bench-display", path: "Tests/Benchmarks/Display", swiftSettings: callsOfC),
        .executableTarget(
            name: "bench-mount", dependencies: ["CPosix", argumentParser], path: "Tests/Benchmarks/Mount",
            swiftSettings: callsOfC),
    ]
)

// The fuzzer's program links only with the fuzzer's runtime: Scripts/fuzz asks for it.
if Context.environment["SALTBRIDGE_FUZZER"] != nil {
    package.targets += [
        .executableTarget(
            name: "fuzz-image", dependencies: ["FuzzSupport"], path: "Tests/Fuzz/Command", swiftSettings: common)
    ]
}
