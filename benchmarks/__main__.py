"""Run all benchmarks, or those named: `python -m benchmarks [--quick] [dataset events panel load_ext …]`."""

import argparse
import importlib
import pkgutil
import time

import benchmarks


def main() -> None:
    names = sorted(
        m.name.removeprefix("bench_")
        for m in pkgutil.iter_modules(benchmarks.__path__, "")
        if m.name.startswith("bench_")
    )
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(names)}; all when left out")
    parser.add_argument("--quick", action="store_true", help="smaller sizes: to see that they run, not for claims")
    args = parser.parse_args()
    if unknown := set(args.names) - set(names):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    for name in args.names or names:
        began = time.perf_counter()
        print(f"\n== {name}")
        importlib.import_module(f"benchmarks.bench_{name}").main(quick=args.quick)
        print(f"   ({time.perf_counter() - began:.0f} s)")


if __name__ == "__main__":
    main()
