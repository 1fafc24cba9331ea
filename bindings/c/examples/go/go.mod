module example.com/dpv

go 1.19
