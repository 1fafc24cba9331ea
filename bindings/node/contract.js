// The module `dp-verifier/contract` has types only.
"use strict";
