"""The recipes of packaging/, as far as that goes without Spack and containers: the Spack recipe is
Python and has a variant for every optional dependency; recipes use presets, scripts and options that
exist."""

import ast
import json
import os
import re
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


class RecipesTest(unittest.TestCase):
    def test_spack_has_every_optional_dependency(self):
        recipe = read("packaging", "spack", "package.py")
        calls = [node for node in ast.walk(ast.parse(recipe)) if isinstance(node, ast.Call)]
        named = {name: {call.args[0].value for call in calls
                        if getattr(call.func, "id", getattr(call.func, "attr", "")) == name}
                 for name in ("variant", "define_from_variant")}
        options = set(re.findall(r"option\((EIGENSCALE_WITH_\w+)", read("CMakeLists.txt")))
        self.assertGreaterEqual(len(options), 5)
        self.assertEqual(named["define_from_variant"], options)
        self.assertEqual(named["variant"], {name[16:].lower() for name in options})

    def test_containers_use_what_exists(self):
        presets = {preset["name"] for preset in
                   json.loads(read("CMakePresets.json"))["configurePresets"]}
        options = set(re.findall(r"option\((EIGENSCALE_\w+)", read("CMakeLists.txt")))
        for name in ("Containerfile", "eigenscale.def"):
            recipe = read("packaging", name)
            for preset in re.findall(r"--preset (\w+)", recipe):
                self.assertIn(preset, presets)
            for option in re.findall(r"-D(EIGENSCALE_\w+)", recipe):
                self.assertIn(option, options)
            for script in re.findall(r"job-scripts/[\w/-]+", recipe):
                self.assertTrue(os.path.exists(os.path.join(ROOT, script)), script)


if __name__ == "__main__":
    unittest.main()
