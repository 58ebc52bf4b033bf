# Pages that are written from the code (tools/docs); tests/integration/test_docs_reference.sh compares them.

.PHONY: docs
docs: $(ALL) | $(DEPS_TEST) ## Write docs/reference from the code
	@tools/docs/reference --build '$(BUILD)'
