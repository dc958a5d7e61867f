//! `--packages`: what is installed in images, read from their layers.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use streamkeeper::findings::Code;

use crate::review::{Desk, config};
use crate::sim::registry::digest;
use crate::tools::tool;

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

type Layer<'a> = (&'a str, Vec<u8>);

/// An archive of files.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let files: Vec<(&str, &[u8])> = files.iter().map(|(path, text)| (*path, text.as_bytes())).collect();
    archive_of(&files)
}

fn archive_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, *bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

fn symlink(path: &str, target: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    archive.append_link(&mut header, path, target).unwrap();
    archive.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// In two frames, with one between them that is to be skipped: so layers are written that can be read in part.
fn zstd(bytes: &[u8]) -> Vec<u8> {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 5, 0, 0, 0][..], b"index"].concat();
    let frame = |bytes: &[u8]| compress_to_vec(bytes, CompressionLevel::Fastest);
    [frame(first), skipped, frame(second)].concat()
}

fn dpkg(packages: &[(&str, &str)]) -> String {
    let one = |(name, version): &(&str, &str)| {
        format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\nDescription: x\n y: z\n\n"
        )
    };
    packages.iter().map(one).collect()
}

/// A desk whose tag has an image of those layers.
fn desk(layers: &[Layer<'_>]) -> Desk {
    let desk = Desk::new();
    push(&desk, "1", layers);
    desk.apply();
    desk
}

/// The tag gets an image of those layers with the next plan.
fn push(desk: &Desk, tag: &str, layers: &[Layer<'_>]) {
    let mut held = desk.registry.content.lock().unwrap();
    let config = config("1001", tag, "2026-01-02T00:00:00Z");
    let digest = held.image_with("lab/app", &config, layers);
    held.tag("lab/app", tag, &digest);
    drop(held);
    desk.define("app", &[("live", tag)]);
}

fn packages(desk: &Desk) -> Value {
    desk.review(&["--packages"])["images"][0]["packages"].clone()
}

/// `name before after` of what differs.
fn changes(packages: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    let changes = packages["changes"].as_array().into_iter().flatten();
    changes.map(|it| format!("{} {} {}", text(&it["what"]), text(&it["before"]), text(&it["after"]))).collect()
}

#[test]
fn packages_that_change_are_named_and_a_layer_that_is_shared_is_downloaded_once() {
    let base = gzip(&archive(&[
        ("./etc/os-release", "ID=debian\n"),
        ("./var/lib/dpkg/status", &dpkg(&[("bash", "5.1"), ("openssl", "3.0.1"), ("curl", "7.1")])),
    ]));
    let desk = desk(&[(GZIP, base.clone())]);
    let status = dpkg(&[("bash", "5.1"), ("openssl", "1:3.0.2"), ("git", "2.1")]);
    let half = "Package: half\nStatus: deinstall ok config-files\nVersion: 1\n\n";
    push(&desk, "2", &[(GZIP, base.clone()), (ZSTD, zstd(&archive(&[("var/lib/dpkg/status", &(status + half))])))]);
    desk.registry.server.forget();
    desk.plan(&[]);
    assert_eq!(desk.registry.server.count(&digest(&base)), 0, "no layer is downloaded unless that is asked for");
    let text = desk.plan(&["--packages"]);
    assert_eq!(desk.registry.server.count(&digest(&base)), 1);
    assert!(text.contains("packages: 1 changed, 1 new, 1 gone; 1 of 2 layers new"), "{text}");
    assert!(text.contains("        packages: 3 installed by dpkg, 3 differences\n"), "{text}");
    assert!(text.contains("          openssl: 3.0.1 -> 1:3.0.2\n"), "{text}");
    let found = packages(&desk);
    assert_eq!((&found["before"], &found["installed"]), (&json!(["dpkg"]), &json!(3)));
    assert_eq!(found["after"], found["before"]);
    assert_eq!(changes(&found), ["curl 7.1 none", "git none 2.1", "openssl 3.0.1 1:3.0.2"]);
    let markdown = desk.plan(&["--packages", "--format", "markdown", "--out", "plan.json"]);
    assert!(
        markdown.contains("| Package | Before | After |\n| --- | --- | --- |\n| `curl` | `7.1` | none |\n"),
        "{markdown}"
    );
    // A saved plan has it all, and is shown without asking anybody.
    desk.registry.server.forget();
    let (code, shown, err) = desk.run(&["show", "plan.json", "--format", "markdown"]);
    assert_eq!((code, shown, desk.registry.server.seen().len()), (0, markdown, 0), "{err}");
}

#[test]
fn upper_layers_hide_what_is_below_them() {
    let apk = |version: &str| format!("C:Q1\nP:musl\nV:{version}\nA:x86_64\n\nC:Q2\nP:zlib\nV:1.3\n\n");
    let both = archive(&[("lib/apk/db/installed", &apk("1.2.4")), ("var/lib/dpkg/status", &dpkg(&[("bash", "5.1")]))]);
    let desk = desk(&[(TAR, both.clone())]);
    for (number, (layer, expected)) in [
        // The file, a folder above it, all of a folder, all there is; and what is not above it.
        (archive(&[("var/lib/dpkg/.wh.status", "")]), vec!["bash 5.1 none"]),
        (archive(&[("var/.wh.lib", "")]), vec!["bash 5.1 none"]),
        (archive(&[("var/lib/dpkg/.wh..wh..opq", "")]), vec!["bash 5.1 none"]),
        // Without any list nobody knows what is there.
        (archive(&[(".wh..wh..opq", "")]), vec![]),
        (archive(&[("var/lib/dpkg/.wh.status-old", ""), ("var/lib/.wh.dpk", "")]), vec![]),
        // A file where a folder was hides what was in it.
        (archive(&[("var/lib", "no folder any more")]), vec!["bash 5.1 none"]),
        // A link to where such lists are as well, as Fedora has it.
        (symlink("var/lib/rpm", "../../usr/lib/sysimage/rpm"), vec![]),
        // Hidden below, and there anew.
        (
            archive(&[
                ("var/lib/dpkg/.wh..wh..opq", ""),
                ("var/lib/dpkg/status", &dpkg(&[("bash", "5.2")])),
                ("lib/apk/db/.wh.installed", ""),
                ("usr/lib/apk/db/installed", &apk("1.2.5")),
            ]),
            vec!["bash 5.1 5.2", "musl 1.2.4 1.2.5"],
        ),
        // A file a package, as images without dpkg have it.
        (
            archive(&[
                ("var/lib/dpkg/.wh.status", ""),
                ("var/lib/dpkg/status.d/tzdata", "Package: tzdata\nVersion: 2026a\n"),
                ("var/lib/dpkg/status.d/tzdata.md5sums", "Package: not\nVersion: one\n"),
            ]),
            vec!["bash 5.1 none", "tzdata none 2026a"],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        push(&desk, &format!("n{number}"), &[(TAR, both.clone()), (TAR, layer)]);
        assert_eq!(changes(&packages(&desk)), expected, "case {number}");
    }
    // One without any list is not one without any package.
    push(&desk, "scratch", &[(TAR, archive(&[("app", "")]))]);
    let text = desk.plan(&["--packages"]);
    assert!(text.contains("        packages: the new image has no list of what is installed\n"), "{text}");
    assert!(!text.contains("gone"), "{text}");
}

/// What a program of this machine prints.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A database that `rpm` itself has written, with three packages in it; and what it lists of it.
fn rpm_database(folder: &Path) -> Vec<String> {
    let database = folder.join("rpm");
    for (name, version, release, epoch) in [
        ("alpha", "1.0", "1.el9", ""),
        ("beta", "2.5~rc1", "3.el9_4", "Epoch: 2\n"),
        ("gamma-libs", "0.1", "7", "Epoch: 0\n"),
    ] {
        let spec = folder.join(format!("{name}.spec"));
        let text = format!(
            "Name: {name}\nVersion: {version}\nRelease: {release}\n{epoch}Summary: s\nLicense: MIT\nBuildArch: noarch\n%description\nd\n%files\n"
        );
        std::fs::write(&spec, text).unwrap();
        let top = format!("_topdir {}", folder.join("build").display());
        output(Command::new("rpmbuild").args(["-bb", "--quiet", "--define", &top]).arg(&spec));
        let built = folder.join("build/RPMS/noarch").join(format!("{name}-{version}-{release}.noarch.rpm"));
        let install = ["-i", "--justdb", "--nodeps", "--nosignature", "--dbpath"];
        output(Command::new("rpm").args(install).arg(&database).arg(built));
    }
    let format = "%{NAME} %|EPOCH?{%{EPOCH}}:{0}|:%{VERSION}-%{RELEASE}\n";
    let list = output(Command::new("rpm").args(["-qa", "--qf", format, "--dbpath"]).arg(&database));
    let mut list: Vec<String> = list.lines().map(|line| line.replace(" 0:", " ").replacen(' ', " none ", 1)).collect();
    list.sort();
    assert_eq!(list.len(), 3);
    list
}

#[test]
fn databases_that_rpm_has_written_are_read_as_rpm_reads_them() {
    let what = "databases of packages as rpm itself writes them";
    let tools = [("rpmbuild", "rpm"), ("rpm", "rpm"), ("db5.3_load", "db5.3-util")];
    if tools.iter().any(|(name, package)| tool(name, package, what).is_none()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let expected = rpm_database(folder.path());
    let sqlite = std::fs::read(folder.path().join("rpm/rpmdb.sqlite")).unwrap();
    // The same headers in the form before, written by Berkeley DB itself: small ones and one over many pages, as a key the number
    // of a package, as rpm had it.
    let store = rusqlite::Connection::open(folder.path().join("rpm/rpmdb.sqlite")).unwrap();
    let mut statement = store.prepare("SELECT hnum, blob FROM Packages").unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, u32>(0)?, row.get::<_, Vec<u8>>(1)?));
    let headers: Vec<(u32, Vec<u8>)> = statement.query_map([], row).unwrap().map(Result::unwrap).collect();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut dump = "VERSION=3\nformat=bytevalue\ntype=hash\ndb_pagesize=4096\nHEADER=END\n".to_owned();
    dump.push_str(&format!(" {}\n {}\n", hex(&0_u32.to_le_bytes()), hex(&99_u32.to_le_bytes())));
    for (number, header) in &headers {
        // What follows the data is not looked at: so a header has any size.
        let padded = [&header[..], &vec![0; *number as usize * 9000]].concat();
        dump.push_str(&format!(" {}\n {}\n", hex(&number.to_le_bytes()), hex(&padded)));
    }
    dump.push_str("DATA=END\n");
    std::fs::write(folder.path().join("dump"), dump).unwrap();
    for (name, order) in [("Packages", "db_lorder=1234"), ("Packages.big", "db_lorder=4321")] {
        let mut load = Command::new("db5.3_load");
        load.current_dir(folder.path()).args(["-c", order, "-f", "dump", name]);
        output(&mut load);
    }
    let bytes = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let empty = archive(&[("var/lib/dpkg/status", "")]);
    for (path, bytes) in [
        ("var/lib/rpm/rpmdb.sqlite", sqlite.clone()),
        ("usr/lib/sysimage/rpm/rpmdb.sqlite", sqlite),
        ("var/lib/rpm/Packages", bytes("Packages")),
        ("var/lib/rpm/Packages", bytes("Packages.big")),
    ] {
        let desk = desk(&[(TAR, empty.clone())]);
        push(&desk, "2", &[(GZIP, gzip(&archive_of(&[(path, &bytes)])))]);
        let found = packages(&desk);
        assert_eq!(changes(&found), expected, "{path} {found:#}");
        assert_eq!(found["after"], json!(["rpm"]));
    }
    // What SQLite has written and not put in its place yet lies beside the database.
    let path = folder.path().join("rpmdb.sqlite");
    let store = rusqlite::Connection::open(&path).unwrap();
    store.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)").unwrap();
    for (number, header) in &headers {
        store.execute("INSERT INTO Packages VALUES (?1, ?2)", rusqlite::params![number, header]).unwrap();
    }
    let (database, log) = (bytes("rpmdb.sqlite"), bytes("rpmdb.sqlite-wal"));
    let desk_ = desk(&[(TAR, empty.clone())]);
    let files = [("var/lib/rpm/rpmdb.sqlite", &database[..]), ("var/lib/rpm/rpmdb.sqlite-wal", &log[..])];
    push(&desk_, "2", &[(TAR, archive_of(&files))]);
    assert_eq!(changes(&packages(&desk_)), expected, "with its log");
    // SUSE's form, which no tool of Debian writes: a head, a page of slots, and blobs in blocks of 16 bytes.
    let mut slots = [*b"RpmP", [0; 4], [1, 0, 0, 0], [1, 0, 0, 0]].concat();
    slots.resize(32, 0);
    let mut blobs = Vec::new();
    for (number, header) in &headers {
        let at = u32::try_from((4096 + blobs.len()) / 16).unwrap();
        slots.extend([*b"Slot", number.to_le_bytes(), at.to_le_bytes(), [0; 4]].concat());
        let length = u32::try_from(header.len()).unwrap();
        blobs.extend([*b"BlbS", number.to_le_bytes(), [7; 4], length.to_le_bytes()].concat());
        blobs.extend(header);
        blobs.resize(blobs.len().next_multiple_of(16), 0);
    }
    while slots.len() < 4096 {
        slots.extend([&b"Slot"[..], &[0; 12]].concat());
    }
    let desk = desk(&[(TAR, empty)]);
    push(&desk, "2", &[(TAR, archive_of(&[("usr/lib/sysimage/rpm/Packages.db", &[slots, blobs].concat())]))]);
    assert_eq!(changes(&packages(&desk)), expected);
}

#[test]
fn the_list_of_this_machine_is_read_as_dpkg_reads_it() {
    if tool("dpkg-query", "dpkg", "the list of packages of this machine").is_none() {
        return;
    }
    let status = std::fs::read("/var/lib/dpkg/status").unwrap();
    let format = "${db:Status-Status} ${Package} ${Version}\n";
    let list = output(Command::new("dpkg-query").args(["-W", "-f", format]));
    let gone = ["config-files", "not-installed"];
    let list = list.lines().filter_map(|line| line.split_once(' ').filter(|(status, _)| !gone.contains(status)));
    let list = list.map(|(_, package)| package);
    let mut expected: Vec<String> = list.map(|line| line.replacen(' ', " none ", 1)).collect();
    expected.sort();
    expected.dedup();
    let desk = desk(&[(TAR, archive(&[("var/lib/dpkg/status", "")]))]);
    push(&desk, "2", &[(GZIP, gzip(&archive_of(&[("var/lib/dpkg/status", &status)])))]);
    let mut found = changes(&packages(&desk));
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn what_is_no_layer_or_no_database_is_said_and_is_no_loss_of_packages() {
    let good = archive(&[("var/lib/dpkg/status", &dpkg(&[("bash", "5.1")]))]);
    let desk = desk(&[(TAR, good.clone())]);
    let long = |kind: tar::EntryType, size: u64| {
        let mut header = tar::Header::new_ustar();
        header.set_path("././@LongLink").unwrap();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        // A gigabyte of name follows, if it is read.
        [header.as_bytes().as_slice(), &vec![b'a'; 4096]].concat()
    };
    let pax = {
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_pax_extensions([("size", b"9999999999".as_slice())]).unwrap();
        [archive.into_inner().unwrap(), good.clone()].concat()
    };
    let link = {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Link);
        header.set_size(0);
        archive.append_link(&mut header, "var/lib/dpkg/status", "elsewhere").unwrap();
        archive.into_inner().unwrap()
    };
    let database = |path: &str, bytes: &[u8]| archive_of(&[(path, bytes)]);
    let view = {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let store = rusqlite::Connection::open(&path).unwrap();
        store.execute_batch("CREATE VIEW Packages AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i AS blob FROM n").unwrap();
        std::fs::read(path).unwrap()
    };
    let computed = {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let store = rusqlite::Connection::open(&path).unwrap();
        // A step that takes hours, if a row is read.
        store.execute_batch("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB AS (instr(hex(zeroblob(6e7 + hnum)), hex(zeroblob(3e7)) || '1')))").unwrap();
        std::fs::read(path).unwrap()
    };
    let apks = archive(&[("lib/apk/db/installed", "P:a\nV:1\n\n"), ("usr/lib/apk/db/installed", "P:a\nV:2\n\n")]);
    let mut circle = vec![0; 1024];
    circle[12..16].copy_from_slice(&0x0006_1561_u32.to_le_bytes());
    circle[20..24].copy_from_slice(&512_u32.to_le_bytes());
    circle[512 + 20] = 2;
    circle[512 + 25] = 13;
    circle[512 + 28] = 40;
    circle[512 + 40] = 3;
    circle[512 + 44] = 1;
    circle[512 + 48..512 + 52].copy_from_slice(&u32::MAX.to_le_bytes());
    for (number, (media_type, layer, words)) in [
        (TAR, long(tar::EntryType::GNULongName, 1 << 30), "a header that is too large"),
        (TAR, long(tar::EntryType::XHeader, 1 << 30), "a header that is too large"),
        (TAR, pax, "more than 8 GiB"),
        (TAR, link, "is a link"),
        (GZIP, gzip(&good)[..40].to_vec(), "the layer cannot be read"),
        (ZSTD, zstd(&good)[..20].to_vec(), "the layer cannot be read"),
        (TAR, b"<html>not found</html>".repeat(100), "the layer cannot be read"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", good.clone(), "is not for everybody"),
        (TAR, database("var/lib/rpm/Packages", b"no database"), "it is no hash of Berkeley DB"),
        (TAR, database("var/lib/rpm/Packages", &circle), "a page of it cannot be read"),
        (TAR, database("var/lib/rpm/Packages.db", b"RpmP"), "in a form that is known"),
        (TAR, database("var/lib/rpm/rpmdb.sqlite", b"no database"), "file is not a database"),
        (TAR, database("var/lib/rpm/rpmdb.sqlite", &view), "no plain table of packages"),
        (TAR, database("var/lib/rpm/rpmdb.sqlite", &computed), "no plain table of packages"),
        (TAR, database("var/lib/dpkg/status", b"\xff\xfeP\0a\0"), "it is no list of packages"),
        (
            TAR,
            database("var/lib/dpkg/status", b"Package: a\nStatus: install ok installed\n"),
            "a package without a version",
        ),
        (TAR, apks, "two lists of apk"),
        (TAR, symlink("var/lib/dpkg/status", "/srv/status"), "a link to elsewhere"),
        (TAR, symlink("var/lib", "../srv"), "a link to elsewhere"),
    ]
    .into_iter()
    .enumerate()
    {
        push(&desk, &format!("n{number}"), &[(TAR, good.clone()), (media_type, layer)]);
        let review = desk.review(&["--packages"]);
        let risk = &review["risks"][0];
        assert_eq!(risk["rule"], Code::NotInspected.id(), "case {number}: {review:#}");
        assert!(risk["message"].as_str().unwrap().contains(words), "case {number}: {risk:#}");
        assert!(review["images"][0]["packages"].is_null(), "case {number}");
        assert!(review["images"][0]["differences"].is_array(), "case {number}: the rest is compared");
    }
    // Values of headers are anybody's: a line break in one is none of the header's.
    let attributes = {
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_pax_extensions([("SCHILY.xattr.security.capability", b"\x01\n9 x=\n".as_slice())]).unwrap();
        [archive.into_inner().unwrap()[..1024].to_vec(), archive_of(&[("app", b"")])].concat()
    };
    push(&desk, "attributes", &[(TAR, good.clone()), (TAR, attributes)]);
    assert_eq!(changes(&packages(&desk)), [""; 0]);
    // More than anybody has: nothing is downloaded.
    let mut held = desk.registry.content.lock().unwrap();
    let huge =
        held.image_of("lab/app", &config("1001", "huge", "2026-01-02T00:00:00Z"), &[("a", 1 << 43), ("b", 1 << 43)]);
    held.tag("lab/app", "huge", &huge);
    drop(held);
    desk.define("app", &[("live", "huge")]);
    let review = desk.review(&["--packages"]);
    assert!(review["risks"].to_string().contains("its layers have 17592186044416 bytes, the limit is"), "{review:#}");
    // Other bytes than its digest says, and fewer: not one of them is looked at.
    let layer = archive(&[("var/lib/dpkg/status", &dpkg(&[("bash", "6")]))]);
    for other in [archive(&[("var/lib/dpkg/status", &dpkg(&[("bash", "7")]))]), layer[..layer.len() - 512].to_vec()] {
        push(&desk, "forged", &[(TAR, layer.clone())]);
        desk.registry.content.lock().unwrap().blobs.insert(format!("lab/app@{}", digest(&layer)), other);
        let review = desk.review(&["--packages"]);
        let message = review["risks"][0]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains("is not what its digest says"), "{review:#}");
    }
}

/// A folder in OCI's layout with the images of a desk's registry.
fn layout(desk: &Desk) {
    let held = desk.registry.content.lock().unwrap();
    let root = desk.folder.path().join("images");
    std::fs::create_dir_all(root.join("blobs/sha256")).unwrap();
    std::fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let blobs = held.blobs.iter().chain(held.manifests.iter().map(|(name, (_, bytes))| (name, bytes)));
    for (name, bytes) in blobs {
        std::fs::write(root.join("blobs").join(name.split_once('@').unwrap().1.replace(':', "/")), bytes).unwrap();
    }
    let entries: Vec<Value> = held.tags["lab/app"]
        .iter()
        .map(|(tag, digest)| {
            let (media_type, bytes) = &held.manifests[&format!("lab/app@{digest}")];
            json!({"mediaType": media_type, "digest": digest, "size": bytes.len(), "annotations": {"org.opencontainers.image.ref.name": format!("lab/app:{tag}")}})
        })
        .collect();
    std::fs::write(root.join("index.json"), json!({"schemaVersion": 2, "manifests": entries}).to_string()).unwrap();
}

#[test]
fn layers_come_from_folders_and_from_whoever_has_the_right_bytes() {
    let layers = |version: &str| archive(&[("var/lib/dpkg/status", &dpkg(&[("bash", version)]))]);
    // A folder that stands for the registry.
    let desk = desk(&[(TAR, layers("1"))]);
    push(&desk, "2", &[(GZIP, gzip(&layers("2")))]);
    layout(&desk);
    let host = desk.registry.server.host.clone();
    let config = |text: &str| std::fs::write(desk.source().join("streamkeeper.yaml"), text).unwrap();
    let folder = desk.folder.path().join("images");
    config(&format!("registries: [{{host: '{host}', layout: '{}'}}]\n", folder.display()));
    desk.registry.server.forget();
    assert_eq!(changes(&packages(&desk)), ["bash 1 2"]);
    assert_eq!(desk.registry.server.seen().len(), 0);
    let blob = folder.join("blobs").join(digest(&layers("1")).replace(':', "/"));
    std::fs::remove_file(&blob).unwrap();
    std::fs::create_dir(&blob).unwrap();
    let review = desk.review(&["--packages"]);
    assert!(review["risks"].to_string().contains("is no file"), "{review:#}");
    // A mirror whose layer is another one: the source has the right one. A connection that breaks off is tried once more.
    let held = desk.registry.content.lock().unwrap().clone();
    let mut forged = held.clone();
    for bytes in forged.blobs.values_mut().filter(|bytes| bytes.starts_with(b"var/lib/dpkg")) {
        *bytes = layers("7");
    }
    let mirror = crate::sim::registry::Registry::start(forged);
    let mirror = &mirror.server.host;
    config(&format!(
        "registries: [{{host: '{host}', private: true, insecure: true}}, {{host: '{mirror}', private: true, insecure: true}}]\nmirrors: [{{source: '{host}/lab', mirrors: ['{mirror}/lab']}}]\n"
    ));
    let found = packages(&desk);
    assert_eq!(changes(&found), ["bash 1 2"], "{found:#}");
}
